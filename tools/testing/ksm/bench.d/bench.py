# SPDX-License-Identifier: GPL-2.0
"""
Measure the stock kernel and ours in turn, and print what came out.

Exit status: 0 if all that was asked for could be measured, 1 if not, 2 if the
command line is wrong.
"""
import argparse
import os
import re
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import plots
import tables
import targets
from figures import Case, Figures, case_of, text_of

TOOLS = Path(__file__).resolve().parents[1]
KIPAGES = 1024
FLAVORS = ("stock", "release")
BASELINE = Path(__file__).with_name("baseline.csv")

# In "quick", and in "icount", which needs no repetition, the goals alone count.
GOAL_PAGES = 64 * KIPAGES
GROWTH_PAGES = (16 * KIPAGES, 512 * KIPAGES)
FULL_PAGES = (16 * KIPAGES, 64 * KIPAGES, 512 * KIPAGES)
LATENCY_PAGES = 16 * KIPAGES  # of w: so few that each is written to again and again
NATIVE_PAGES = (16 * KIPAGES, 128 * KIPAGES)

# Each page of g stands for 512 that its program could have had, and a page table.
SPARSE_SHARE = 16

# Microseconds that a page takes in a whole case, emulated; only for saying how long
# it will take.  Measured with the stock kernel.
COST = {"a:0": 200, "a:-": 400, "b:0": 400, "b:-": 600, "c:-": 250, "c:0": 150, "d:-": 250,
        "e:-": 600, "f:-": 400, "g:-": 4000, "h:-": 300, "i:-": 400, "w:-": 900}
COST_DEFAULT = 400
BOOT_SECONDS = 10
PROGRAMS_SECONDS = 120
OURS_SHARE = 0.6
NATIVE_SHARE = 0.05

# A boot that takes this much longer than expected hangs.
PATIENCE = 20

# A boot: the kernel, which repetition, the cases to measure in it, what it will take.
Job = namedtuple("Job", "flavor repetition cases seconds")


def main():
    options = parse_command_line()
    options.out.mkdir(parents=True, exist_ok=True)
    figures = kept_figures(options)
    jobs = plan(options)
    if not jobs:
        sys.exit("bench: there is nothing to measure: no such workload in this mode")
    failed = measure(jobs, figures, options)
    figures.save(options.out / "figures.csv")
    figures.save_summary(options.out / "summary.csv", FLAVORS)
    report(figures, options)
    for failure in failed:
        print(f"Could not be measured: {failure}")
    return 1 if failed else 0


def parse_command_line():
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--mode", choices=("full", "quick", "icount", "um"), default="full")
    parser.add_argument("--out", type=Path, required=True, help="folder for what comes out")
    parser.add_argument("--share", type=Path, help="folder with the guest's programs")
    parser.add_argument("--um", help="folder with the kernels for native speed")
    parser.add_argument("--workloads", default="", help="only these, such as \"a c growth\"")
    parser.add_argument("--pages", type=int, default=0, help="only this size")
    parser.add_argument("--repeat", type=int, default=0, help="how often")
    parser.add_argument("--keep-stock", action="store_true",
                        help="take the stock kernel's figures from the run before")
    return parser.parse_args()


def kept_figures(options):
    path = options.out / "figures.csv"
    if not options.keep_stock:
        return Figures()
    if not path.exists():
        sys.exit(f"bench: there are no figures of a run before in {path}")
    return Figures(Figures.load(path).of_flavor("stock"))


# What to measure

def plan(options):
    """The boots in their order: the kernels alternate."""
    jobs = []
    for repetition in range(1, repeat_of(options) + 1):
        for group in groups(options):
            for flavor in FLAVORS:
                cases = [case for case in group if wanted(flavor, case, options)]
                if cases and not (flavor == "stock" and options.keep_stock):
                    jobs.append(job(flavor, repetition, cases, options))
    return jobs + growth_jobs(options)


def groups(options):
    """The cases, in groups that share a boot."""
    if options.mode in ("quick", "icount"):
        return [[Case(workload, pages_of(workload, options.pages or GOAL_PAGES), smart)
                 for workload, smart in goal_cases(targets.EMULATED)]]
    if options.mode == "um":
        sizes = [options.pages] if options.pages else NATIVE_PAGES
        return [[Case(workload, pages, smart)] for pages in sizes
                for workload, smart in goal_cases(targets.NATIVE)]
    sizes = [options.pages] if options.pages else FULL_PAGES
    cases = [Case(workload, pages_of(workload, pages), smart) for pages in sizes
             for workload, smart in full_cases() if workload != "w" or pages == sizes[0]]
    # The programs' data has the size it has.
    return [[case] for case in cases + [Case("j", 1, "-")]]


def goal_cases(goals):
    """Workload and smart_scan of all cases of the goals; ours is always the default."""
    cases = dict.fromkeys((goal.workload, smart) for goal in goals if goal.workload != "growth"
                          for smart in dict.fromkeys((goal.stock_smart, "-")))
    return sorted(cases)


def full_cases():
    return [(workload, smart) for workload in "abcdefghiw"
            for smart in (("0", "-") if workload in "ab" else ("-",))]


def pages_of(workload, pages):
    if workload == "g":
        return max(pages // SPARSE_SHARE, 1)
    return LATENCY_PAGES if workload == "w" and pages > LATENCY_PAGES else pages


def wanted(flavor, case, options):
    if options.workloads and case.workload not in options.workloads.split():
        return False
    if options.mode == "full":
        return True
    # A goal names the stock kernel's smart_scan; ours runs with its default.
    goals = targets.NATIVE if options.mode == "um" else targets.EMULATED
    if flavor == "release":
        return case.smart == "-"
    return any((goal.workload, goal.stock_smart) == (case.workload, case.smart) for goal in goals)


def growth_jobs(options):
    """Ours alone, once: the goal is about its own growth."""
    names = options.workloads.split()
    if options.mode not in ("quick", "icount") or (names and "growth" not in names):
        return []
    return [job("release", 1, [Case("a", pages, "-")], options) for pages in growth_pages(options)
            if names or pages != (options.pages or GOAL_PAGES)]


def growth_pages(options):
    """The full range, unless a smaller size was asked for."""
    if not options.pages:
        return GROWTH_PAGES
    return (options.pages, options.pages * GROWTH_PAGES[1] // GROWTH_PAGES[0])


def job(flavor, repetition, cases, options):
    seconds = BOOT_SECONDS
    for case in cases:
        if case.workload == "j":
            seconds += PROGRAMS_SECONDS
        else:
            cost = COST.get(f"{case.workload}:{case.smart}", COST_DEFAULT)
            seconds += cost * case.pages / 1e6 * (1 if flavor == "stock" else OURS_SHARE)
    if options.mode == "um":
        seconds = 2 + (seconds - BOOT_SECONDS) * NATIVE_SHARE
    return Job(flavor, repetition, cases, seconds)


# Measuring

def measure(jobs, figures, options):
    """Run all jobs; returns what could not be measured."""
    failed = []
    progress = Progress(sum(job.seconds for job in jobs), len(jobs))
    for number, this in enumerate(jobs, 1):
        progress.show(number, this)
        missing = set(this.cases)
        with start(this, options) as process:
            for line in process.stdout:
                read_line(line, this, figures, missing, progress)
        run = f"with {this.flavor}, repetition {this.repetition}"
        failed += [f"{text_of(case)} {run}" for case in sorted(missing)]
        if process.returncode and not missing:
            failed.append(f"{run}: it was measured, but ended with status {process.returncode}")
        progress.done(this)
        # A run that is interrupted has not been for nothing.
        figures.save(options.out / "figures.csv")
    return failed


def read_line(line, this, figures, missing, progress):
    """One line of a kernel's output; the um kernel's may have a time before it."""
    found = re.search(r"\b(figure|failed|done) (\w:\d+:[01-])(?: (.+?))?\s*$", line)
    if not found or case_of(found[2]) not in this.cases:
        return
    word, case, rest = found[1], case_of(found[2]), found[3]
    if word == "figure":
        measure_name, value = rest.split()
        figures.add(this.flavor, this.repetition, case, measure_name, float(value))
    elif word == "done":
        missing.discard(case)
        progress.note(f"{text_of(case)} done")
    else:
        progress.note(f"{text_of(case)} failed: {rest}")


def start(this, options):
    command = um_command(this, options) if options.mode == "um" else vm_command(this, options)
    # What the um kernel says about this machine, it says on stderr.
    errors = subprocess.DEVNULL if options.mode == "um" else None
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=errors, text=True, errors="replace")


def vm_command(this, options):
    command = [TOOLS / "vm", "--flavor", this.flavor, "--mem", f"{megabytes(this.cases)}M",
               "--timeout", str(int(this.seconds * PATIENCE) + 600), "--share", options.share]
    if options.mode == "icount":
        command.append("--icount")
    return [*map(str, command), "--", "/share/ksm_bench", *map(text_of, this.cases)]


def um_command(this, options):
    return ["timeout", "-k", "5", str(int(this.seconds * PATIENCE) + 300),
            f"{options.um}/{this.flavor}/linux", f"mem={megabytes(this.cases)}M",
            f"ksm_bench.case={text_of(this.cases[0])}"]


def megabytes(cases):
    """Memory for the largest case, its page tables, what tracks it, and the system."""
    return 512 + max(max(case.pages, 128 * KIPAGES if case.workload == "j" else 0) *
                     (10 if case.workload == "g" else 5) // KIPAGES for case in cases)


class Progress:
    """Says on stderr what is measured, and when it will be over."""

    def __init__(self, seconds, jobs):
        self.start = time.monotonic()
        self.expected, self.jobs = seconds, jobs
        self.expected_done = 0.0

    def show(self, number, this):
        left = self.expected - self.expected_done
        if self.expected_done:
            left *= (time.monotonic() - self.start) / self.expected_done
        name = {"release": "ours"}.get(this.flavor, this.flavor)
        cases = ", ".join(map(text_of, this.cases))
        self.note(f"[{number}/{self.jobs}] {name}, repetition {this.repetition}: {cases}; "
                  f"about {duration(left)} left")

    def done(self, this):
        self.expected_done += this.seconds

    def note(self, text):
        elapsed = time.monotonic() - self.start
        print(f"ksm: {int(elapsed) // 60:4d}:{int(elapsed) % 60:02d} {text}", file=sys.stderr,
              flush=True)


def duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


# Reporting

def report(figures, options):
    clock = targets.INSTRUCTIONS if options.mode == "icount" else targets.NS
    everything = tables.figures_table(figures, clock)
    lines = [heading(options), ""]
    if options.mode == "full":
        lines += [*everything, "", "To reach", ""]
    results = goals_of(figures, options)
    if results:
        lines += tables.goals_table(results, clock)
    if options.mode == "icount":
        lines += against_baseline(figures)
    text = "\n".join(lines) + "\n"
    print(f"\n{text}", flush=True)
    (options.out / "table.txt").write_text(text)
    (options.out / "all.txt").write_text("\n".join(everything) + "\n")
    drawn = plots.draw(figures, options.out, clock)
    print(f"In {options.out}: table.txt, all.txt, figures.csv, summary.csv and {len(drawn)} plots")


def against_baseline(figures):
    table = tables.baseline_table(figures, Figures.load(BASELINE))
    return ["", "Ours and the baseline, commit 11f3e2d", "", *table] if table else []


def repeat_of(options):
    return options.repeat or {"full": 3, "quick": 3, "icount": 1, "um": 7}[options.mode]


def heading(options):
    how = {"um": "at native speed, under ARCH=um",
           "icount": "in a virtual machine, in instructions (i) of its processor"}
    text = f"Stock and ours {how.get(options.mode, 'in a virtual machine')}"
    if repeat_of(options) > 1:
        text += f", medians of {repeat_of(options)} runs with half of their spread"
    return text


def goals_of(figures, options):
    """The goals of this mode that concern what was to be measured."""
    goals = targets.NATIVE if options.mode == "um" else targets.EMULATED
    names = options.workloads.split()
    sizes = {workload: pages_of(workload, options.pages or default_pages(options))
             for workload in "abcdefg"}
    sizes["growth"] = growth_pages(options)
    return [targets.judge(goal, figures, sizes) for goal in goals
            if not names or goal.workload in names]


def default_pages(options):
    return {"um": NATIVE_PAGES[-1], "full": FULL_PAGES[1]}.get(options.mode, GOAL_PAGES)


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C.UTF-8"
    sys.exit(main())
