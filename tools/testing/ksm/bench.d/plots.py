# SPDX-License-Identifier: GPL-2.0
"""Plots of the figures, drawn by gnuplot as SVG and PNG."""
import subprocess
from pathlib import Path

import targets
from figures import ratio_of

HERE = Path(__file__).resolve().parent
FLAVORS = (("stock", "stock"), ("release", "ours"))

# What is drawn over the size of the offered memory: measure, title, unit.
GROWTH = (("steady", "CPU of ksmd, steady state", "{clock} per page and pass"),
          ("first", "CPU of ksmd, first four passes", "{clock} per page"),
          ("merge_cpu", "CPU of ksmd until merged", "{clock} per page"),
          ("memory", "kernel memory", "bytes per page"),
          ("unmerge", "unmerging", "{clock} per page"))

CLOCKS = {targets.NS: "ns", targets.INSTRUCTIONS: "instructions"}

# What the memory is like; see guest/workload.c.
WORDS = {"a": "a: all differ", "b": "b: differ in\\nthe last word", "c": "c: eight of\\neach content",
         "d": "d: zeroes", "e": "e: half written\\neach pass", "f": "f: all read\\neach pass",
         "g": "g: one in 512\\npresent", "h": "h: in many\\nprocesses", "i": "i: huge pages"}


def draw(figures, folder, clock):
    """All plots that the figures allow; returns the names of the files."""
    drawn = []
    for measure, title, unit in GROWTH:
        drawn += _draw_growth(figures, folder, measure, title, unit.format(clock=CLOCKS[clock]))
    return drawn + _draw_cost(figures, folder, CLOCKS[clock])


def _draw_growth(figures, folder, measure, title, unit):
    """A line for each flavor and workload that has been measured at several sizes."""
    blocks = []
    for flavor, name in FLAVORS:
        for workload, smart in sorted({(case.workload, case.smart) for case in figures.cases()}):
            points = _points(figures, flavor, measure, workload, smart)
            if len(points) > 1:
                label = f"{name} {workload}" + ("" if smart == "-" else f", smart_scan={smart}")
                blocks.append((label, points))
    if not blocks:
        return []
    data = folder / f"{measure}.dat"
    # Two empty lines are between blocks.
    data.write_text("\n\n\n".join(f'"{label}"\n' + "\n".join(points) for label, points in blocks)
                    + "\n")
    return _gnuplot("growth.gp", folder / measure, data=data, title=title, unit=unit,
                    blocks=len(blocks))


def _points(figures, flavor, measure, workload, smart):
    points = []
    for case in figures.cases():
        found = figures.summary(flavor, case, measure)
        # The scale is logarithmic.
        if (case.workload, case.smart) == (workload, smart) and found and found.median > 0:
            points.append(f"{case.pages} {found.median} {found.low} {found.high}")
    return points


def _draw_cost(figures, folder, clock):
    """Two bars for each workload, at its largest size that both kernels were measured at."""
    costs = {}
    for case in figures.cases():
        pair = [figures.summary(flavor, case, "steady") for flavor, _ in FLAVORS]
        if case.smart == "-" and case.workload in WORDS and ratio_of(*pair):
            costs[case.workload] = [found.median for found in pair]
    if not costs:
        return []
    data = folder / "cost.dat"
    data.write_text("".join(f'"{WORDS[workload]}" {stock} {ours}\n'
                            for workload, (stock, ours) in costs.items()))
    return _gnuplot("cost.gp", folder / "cost", data=data,
                    title="CPU of ksmd, steady state", unit=f"{clock} per page and pass")


def _gnuplot(script, target, **variables):
    drawn = []
    for terminal, suffix in (("svg", "svg"), ("pngcairo", "png")):
        output = target.with_suffix(f".{suffix}")
        settings = "".join(f"{name} = {_literal(value)}; " for name, value in
                           {**variables, "terminal": terminal, "target": output}.items())
        subprocess.run(["gnuplot", "-e", settings, HERE / script], check=True)
        drawn.append(output)
    return drawn


def _literal(value):
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
