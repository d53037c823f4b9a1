# SPDX-License-Identifier: GPL-2.0
"""What is to be reached, and whether it was."""
from collections import namedtuple

from figures import Case, ratio_of

# How a row is judged.
RATIO = "ratio"  # stock to ours is at least the goal
AT_MOST = "at most"  # ours is at most the goal
NOT_MORE = "not more"  # ours is at most stock's
GROWTH = "growth"  # ours at the larger size to ours at the smaller is at most the goal
LIMIT = "limit"  # ours to a limit measured in the same run is at most the goal

# measure_of: measure of stock and ours; smart_scan of each in stock and ours.
Goal = namedtuple("Goal", "workload text measure stock_smart kind goal optional",
                  defaults=(RATIO, None, False))

# Where it is not said otherwise, both kernels run with their defaults.
EMULATED = (
    Goal("a", "steady, CPU per page and pass; stock smart_scan=0", "steady", "0", RATIO, 200),
    Goal("a", "steady, CPU per page and pass", "steady", "-", RATIO, 60),
    Goal("b", "steady, CPU per page and pass", "steady", "-", RATIO, 300),
    Goal("a", "first four passes, CPU per page", "first", "-", RATIO, 10),
    Goal("c", "until merged, CPU per page", "merge_cpu", "-", RATIO, 5),
    Goal("c", "steady, CPU per page and pass", "steady", "-", RATIO, 20),
    Goal("d", "until merged, CPU per page", "merge_cpu", "-", RATIO, 5),
    Goal("f", "steady, CPU per page and pass", "steady", "-", RATIO, 5),
    Goal("g", "steady, CPU per pass", "steady_pass", "-", RATIO, 20),
    Goal("c", "passes until merged", "merge_passes", "-", NOT_MORE),
    Goal("d", "passes until merged", "merge_passes", "-", NOT_MORE),
    Goal("a", "kernel memory per unshared page", "memory", "-", AT_MOST, 16),
    Goal("g", "kernel memory per lonely page", "memory", "-", AT_MOST, 128),
    Goal("c", "unmerging, time per page", "unmerge", "-", RATIO, 4),
    Goal("growth", "of a steady: 512 Ki to 16 Ki pages", "steady", "-", GROWTH, 1.3),
    Goal("a", "steady, page content read per page and pass", "read", "-", AT_MOST, 256, True),
    Goal("c", "steady, page content read per page and pass", "read", "-", AT_MOST, 0, True),
)

NATIVE = (
    Goal("a", "steady, CPU per page and pass", "steady", "0", AT_MOST, 30),
    Goal("a", "the same, to stock", "steady", "0", RATIO, 180),
    Goal("b", "steady, CPU per page and pass", "steady", "0", AT_MOST, 30),
    Goal("b", "the same, to stock", "steady", "0", RATIO, 180),
    Goal("c", "steady, CPU per page and pass", "steady", "0", AT_MOST, 20),
    Goal("a", "pass 1, to reading and hashing each page", "pass1", "0", LIMIT, 1.5),
    Goal("c", "until merged, CPU per page", "merge_cpu", "0", RATIO, 3),
)

# How much worse than the baseline a figure may be, as a share of it. For g it is 290 to 191
# thousand instructions: the price of not using the accessed bits of upper page tables.
SLACK = 0.05
SLACK_OF = {("g", "steady_pass"): 0.52}

NS, BYTES, INSTRUCTIONS, COUNT = "ns", "B", "i", ""
UNITS = {"memory": BYTES, "slab": BYTES, "read": BYTES, "pages": COUNT, "merged": COUNT,
         "saved": COUNT, "merge_passes": COUNT, "write_without_faults": COUNT,
         "write_with_faults": COUNT, "write_always_faults": COUNT}

# Of these, more is better; of "pages" neither is; of all others, less is better.
MORE_IS_BETTER = ("merged", "saved", "write_with_faults", "write_always_faults")

Result = namedtuple("Result", "goal stock ours ratio reached")


def judge(goal, figures, sizes):
    """
    The Result of one goal: what was measured, and whether it reaches the goal.

    sizes gives the pages of each workload.  Nothing of it was measured: None.
    """
    if goal.kind == GROWTH:
        return _judge_growth(goal, figures, sizes)
    pages = sizes.get(goal.workload)
    stock = figures.summary("stock", Case(goal.workload, pages, goal.stock_smart), goal.measure)
    ours = figures.summary("release", Case(goal.workload, pages, "-"), goal.measure)
    if goal.kind == LIMIT:
        stock = figures.summary("release", Case(goal.workload, pages, "-"), "limit")
    ratio = ratio_of(stock, ours)
    if goal.kind == LIMIT and ratio:
        ratio = 1 / ratio
    return Result(goal, stock, ours, ratio, _reached(goal, stock, ours, ratio))


def _reached(goal, stock, ours, ratio):
    if not ours:
        return None
    if goal.kind == AT_MOST:
        return ours.median <= goal.goal
    if not stock:
        return None
    if goal.kind == NOT_MORE:
        return ours.median <= stock.median
    if goal.kind == LIMIT:
        return ratio <= goal.goal
    # Nothing at all is less than any share of what stock takes.
    return ratio is None or ratio >= goal.goal


def _judge_growth(goal, figures, sizes):
    small, large = (figures.summary("release", Case("a", pages, "-"), goal.measure)
                    for pages in sizes["growth"])
    ratio = ratio_of(large, small)
    return Result(goal, small, large, ratio, None if ratio is None else ratio <= goal.goal)


def unit(measure, clock=NS):
    """The unit of a measure; clock is the one of times."""
    return UNITS.get(measure, clock)
