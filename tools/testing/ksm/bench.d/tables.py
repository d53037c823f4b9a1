# SPDX-License-Identifier: GPL-2.0
"""Figures and goals as text for a reader."""
import targets
from figures import ratio_of, text_of

# The names of a unit's multiples, and how many of one are the next.
SCALES = {targets.NS: (("ns", "us", "ms", "s"), 1000),
          targets.BYTES: (("B", "KiB", "MiB", "GiB"), 1024),
          targets.INSTRUCTIONS: (("i", "k i", "M i", "G i"), 1000)}


def amount(value, unit):
    """A number with three digits and its unit: 4.12 us, 987 ns, 3.4 KiB."""
    if unit not in SCALES:
        return f"{value:.0f}"
    steps, factor = SCALES[unit]
    step = 0
    while abs(value) >= factor and step < len(steps) - 1:
        value, step = value / factor, step + 1
    digits = 0 if abs(value) >= 100 or not value else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f} {steps[step]}"


def with_spread(summary, unit):
    if not summary:
        return "-"
    spread = f" +-{summary.spread / 2:.0%}" if summary.runs > 1 and unit else ""
    return amount(summary.median, unit) + spread


def columns(rows, right):
    """Rows of cells as lines; the cells of the columns named in right stand right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) if column in right else cell.ljust(width)
                      for column, (cell, width) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def goal_text(goal):
    unit = targets.unit(goal.measure)
    return {targets.RATIO: lambda: f"{goal.goal} : 1",
            targets.AT_MOST: lambda: f"at most {amount(goal.goal, unit)}",
            targets.NOT_MORE: lambda: "not more",
            targets.GROWTH: lambda: f"at most {goal.goal}",
            targets.LIMIT: lambda: f"at most {goal.goal}"}[goal.kind]()


def _verdict(result):
    if result.reached is None:
        return "-"
    return "yes" if result.reached else "NO"


def _ratio(ratio):
    if ratio is None:
        return "-"
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.2f}"


def goals_table(results, clock=targets.NS):
    """The goals with what was measured of each; ends with how many are reached."""
    rows = [("", "figure", "stock", "ours", "ratio", "to reach", "reached")]
    for result in results:
        goal, unit = result.goal, targets.unit(result.goal.measure, clock)
        rows.append((goal.workload if len(goal.workload) == 1 else "a", goal.text,
                     *(with_spread(found, unit) for found in (result.stock, result.ours)),
                     _ratio(result.ratio), goal_text(goal), _verdict(result)))
    lines = columns(rows, right=(2, 3, 4, 5))
    notes = []
    if any(result.goal.kind == targets.GROWTH for result in results):
        notes.append("Growth: both figures are ours, of the smaller size and of the larger.")
    if any(result.goal.kind == targets.LIMIT for result in results):
        notes.append("Pass 1: the figure under \"stock\" is the limit, measured by our kernel.")
    reached = sum(result.reached is True for result in results)
    unknown = sum(result.reached is None for result in results)
    end = f"{reached} of {len(results)} reached"
    if unknown:
        end += f", {unknown} not measured"
    return [lines[0], "-" * max(map(len, lines)), *lines[1:], "", *notes, end + "."]


def figures_table(figures, clock=targets.NS, flavors=("stock", "release")):
    """All that was measured, one line for each measure of each case."""
    rows = [("case", "measure", "stock", "ours", "ratio", "")]
    for case in figures.cases():
        for measure in figures.measures(case):
            pair = [figures.summary(flavor, case, measure) for flavor in flavors]
            ratio = ratio_of(*pair)
            rows.append((text_of(case), measure,
                         *(with_spread(found, targets.unit(measure, clock)) for found in pair),
                         _ratio(ratio), _worse(measure, *pair)))
    return columns(rows, right=(2, 3, 4))


def baseline_table(figures, baseline):
    """Ours beside the baseline, where both have a figure; nothing if that is nowhere."""
    texts = {(goal.workload, goal.measure): goal.text for goal in targets.EMULATED}
    rows = [("case", "figure", "baseline", "ours", "change", "")]
    for row in baseline.rows:
        key = row.case.workload, row.measure
        unit = targets.unit(row.measure, targets.INSTRUCTIONS)
        ours = figures.summary("release", row.case, row.measure)
        if ours:
            limit = row.value * (1 + targets.SLACK_OF.get(key, targets.SLACK))
            rows.append((text_of(row.case), texts[key], amount(row.value, unit),
                         amount(ours.median, unit), f"{ours.median / row.value - 1:+.1%}",
                         "worse" if ours.median > limit else ""))
    return columns(rows, right=(2, 3, 4)) if len(rows) > 1 else []


def _worse(measure, stock, ours):
    """Says so if each of our runs is worse than each of stock's."""
    if not stock or not ours or measure == "pages":
        return ""
    if measure in targets.MORE_IS_BETTER:
        return "worse" if ours.high < stock.low else ""
    return "worse" if ours.low > stock.high else ""
