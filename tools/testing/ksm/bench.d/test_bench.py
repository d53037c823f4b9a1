# SPDX-License-Identifier: GPL-2.0
"""
Tests of how the benchmark sums up and judges; they measure nothing.

Run with: python3 -B test_bench.py
"""
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import bench
import tables
import targets
from figures import Case, Figures, case_of, text_of

CASE = Case("a", 1024, "-")
SIZES = {"a": 1024, "growth": (1024, 4096)}


def options(**changed):
    return SimpleNamespace(**{"mode": "quick", "workloads": "", "pages": 0, "repeat": 0,
                              "keep_stock": False, **changed})


def figures(stock, ours, measure="steady", case=CASE):
    both = Figures()
    for flavor, values in (("stock", stock), ("release", ours)):
        for repetition, value in enumerate(values, 1):
            both.add(flavor, repetition, case, measure, value)
    return both


class Summing(unittest.TestCase):
    def test_the_median_and_the_spread_are_of_all_repetitions(self):
        summary = figures([], [10, 40, 20]).summary("release", CASE, "steady")
        self.assertEqual((summary.median, summary.spread), (20, 1.5))

    def test_what_was_not_measured_has_no_summary(self):
        self.assertIsNone(figures([1], []).summary("release", CASE, "steady"))

    def test_figures_come_back_from_their_file_as_they_were(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "figures.csv")
            figures([1.5], [2.5]).save(path)
            self.assertEqual(Figures.load(path).rows, figures([1.5], [2.5]).rows)

    def test_a_case_is_read_as_it_is_written(self):
        self.assertEqual(case_of(text_of(CASE)), CASE)


class Judging(unittest.TestCase):
    def judge(self, stock, ours, kind, goal):
        wanted = targets.Goal("a", "", "steady", "-", kind, goal)
        return targets.judge(wanted, figures(stock, ours), SIZES)

    def test_a_ratio_is_reached_from_its_goal_on(self):
        self.assertTrue(self.judge([100], [10], targets.RATIO, 10).reached)
        self.assertFalse(self.judge([99], [10], targets.RATIO, 10).reached)

    def test_the_median_counts_for_a_ratio(self):
        self.assertEqual(self.judge([10, 100, 1000], [1, 10, 100], targets.RATIO, 10).ratio, 10)

    def test_nothing_is_less_than_any_share(self):
        self.assertTrue(self.judge([100], [0], targets.RATIO, 10).reached)

    def test_a_limit_of_our_own_needs_no_stock(self):
        self.assertTrue(self.judge([], [16], targets.AT_MOST, 16).reached)
        self.assertFalse(self.judge([], [17], targets.AT_MOST, 16).reached)

    def test_not_more_allows_the_same(self):
        self.assertTrue(self.judge([2], [2], targets.NOT_MORE, None).reached)
        self.assertFalse(self.judge([2], [3], targets.NOT_MORE, None).reached)

    def test_without_stock_a_ratio_is_neither_reached_nor_missed(self):
        self.assertIsNone(self.judge([], [1], targets.RATIO, 10).reached)

    def test_growth_compares_our_sizes(self):
        both = figures([], [10])
        both.add("release", 1, Case("a", 4096, "-"), "steady", 14)
        goal = targets.Goal("growth", "", "steady", "-", targets.GROWTH, 1.3)
        result = targets.judge(goal, both, SIZES)
        self.assertEqual((result.ratio, result.reached), (1.4, False))

    def test_pass_1_is_compared_with_the_limit_of_the_same_run(self):
        both = figures([], [30], "pass1")
        both.add("release", 1, CASE, "limit", 20)
        goal = targets.Goal("a", "", "pass1", "0", targets.LIMIT, 1.5)
        result = targets.judge(goal, both, SIZES)
        self.assertEqual((result.ratio, result.reached), (1.5, True))


class Printing(unittest.TestCase):
    def test_numbers_have_three_digits_and_a_unit(self):
        self.assertEqual([tables.amount(*pair) for pair in (
            (4.123, "ns"), (45678, "ns"), (2048, "B"), (7, ""))],
            ["4.12 ns", "45.7 us", "2.00 KiB", "7"])

    def test_with_counted_instructions_times_are_instructions(self):
        lines = tables.figures_table(figures([5000], [100]), targets.INSTRUCTIONS)
        self.assertEqual(lines[1].split()[2:], ["5.00", "k", "i", "100", "i", "50.00"])

    def test_the_table_ends_with_how_many_goals_are_reached(self):
        goals = [targets.Goal("a", "", "steady", "-", targets.RATIO, goal) for goal in (2, 200)]
        results = [targets.judge(goal, figures([100], [10]), SIZES) for goal in goals]
        self.assertEqual(tables.goals_table(results)[-1], "1 of 2 reached.")

    def test_worse_means_that_all_our_runs_are_worse_than_all_of_stock(self):
        def last_word(stock, ours):
            return tables.figures_table(figures(stock, ours))[1].split()[-1]
        self.assertEqual(last_word([1, 2], [3, 4]), "worse")
        self.assertNotEqual(last_word([1, 3], [2, 4]), "worse")


class Baseline(unittest.TestCase):
    LIMITS = ((Case("c", 64, "-"), "unmerge", 0.05), (Case("g", 4, "-"), "steady_pass", 0.52))

    def table(self, case, measure, ours):
        baseline = figures([], [1000], measure, case)
        return tables.baseline_table(figures([], [ours], measure, case), baseline)

    def test_worse_is_what_is_more_than_its_row_may_be(self):
        for case, measure, limit in self.LIMITS:
            allowed = 1000 * (1 + limit)
            self.assertEqual(self.table(case, measure, allowed)[1].split()[-1], f"+{limit:.1%}")
            self.assertEqual(self.table(case, measure, allowed + 1)[1].split()[-1], "worse")

    def test_less_is_not_worse(self):
        self.assertEqual(self.table(CASE, "first", 500)[1].split()[-1], "-50.0%")

    def test_without_a_baseline_of_the_size_there_is_no_table(self):
        self.assertEqual(bench.against_baseline(figures([], [1], case=Case("a", 64, "-"))), [])

    def test_each_goal_in_instructions_or_bytes_has_a_baseline_in_both_sizes(self):
        wanted = {(Case(goal.workload, bench.pages_of(goal.workload, pages), "-"), goal.measure)
                  for goal in targets.EMULATED for pages in (16384, 65536)
                  if goal.workload != "growth" and goal.measure not in ("merge_passes", "read")}
        rows = Figures.load(bench.BASELINE).rows
        self.assertEqual({(row.case, row.measure) for row in rows}, wanted)


class Planning(unittest.TestCase):
    def test_the_kernels_alternate(self):
        jobs = bench.plan(options(workloads="a", repeat=2))
        self.assertEqual([job.flavor for job in jobs], ["stock", "release"] * 2)

    def test_each_goal_finds_its_case_measured(self):
        measured = {(job.flavor, case) for job in bench.plan(options()) for case in job.cases}
        for goal in targets.EMULATED:
            if goal.workload != "growth":
                pages = bench.pages_of(goal.workload, bench.GOAL_PAGES)
                self.assertIn(("stock", Case(goal.workload, pages, goal.stock_smart)), measured)
                self.assertIn(("release", Case(goal.workload, pages, "-")), measured)

    def test_stock_that_is_kept_is_not_measured_again(self):
        jobs = bench.plan(options(workloads="a", keep_stock=True))
        self.assertEqual({job.flavor for job in jobs}, {"release"})

    def test_a_workload_alone_needs_no_growth(self):
        cases = {case for job in bench.plan(options(workloads="c")) for case in job.cases}
        self.assertEqual({case.workload for case in cases}, {"c"})

    def test_each_line_of_a_kernel_is_understood(self):
        found, case = Figures(), Case("a", 64, "-")
        job, missing = bench.Job("release", 1, [case], 1), {case}
        progress = SimpleNamespace(note=lambda text: None)
        for line in ("figure a:64:- steady 12.5\n", "[ 1.0] ksm_bench: figure a:64:- pass1 3\r\n",
                     "figure b:64:- steady 1\n", "anything\n", "done a:64:-\n"):
            bench.read_line(line, job, found, missing, progress)
        self.assertEqual([(row.measure, row.value) for row in found.rows],
                         [("steady", 12.5), ("pass1", 3.0)])
        self.assertFalse(missing)


if __name__ == "__main__":
    unittest.main()
