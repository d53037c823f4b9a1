# SPDX-License-Identifier: GPL-2.0
"""
Tests of the demonstration itself; they need its programs, but no KSM.

Run with: python3 -B test_demo.py
With the path of the built launcher in the variable OFFER, that one is tested too.
"""
import os
import subprocess
import tempfile
import unittest
from types import SimpleNamespace
from unittest import mock

import demo
import ksm
import programs
import show

OFFERED = """\
1000-2000 rw-p 00000000 00:00 0    [heap]
Anonymous:            40 kB
VmFlags: rd wr mr mw me ac mg
2000-3000 rw-p 00000000 00:00 0
Anonymous:             8 kB
VmFlags: rd wr mr mw me ac
"""

ROLLUP = """\
Pss:                  60 kB
Pss_Anon:             18 kB
Anonymous:            48 kB
KSM:                  40 kB
"""


class MemoryOfAProcess(unittest.TestCase):
    def test_only_mergeable_mappings_are_offered(self):
        self.assertEqual(ksm.parse_memory(OFFERED, ROLLUP).offered, 40 * ksm.KIB)

    def test_merged_is_what_is_mapped_to_shared_pages(self):
        self.assertEqual(ksm.parse_memory(OFFERED, ROLLUP).merged, 40 * ksm.KIB)

    def test_saved_is_what_the_process_does_not_pay(self):
        self.assertEqual(ksm.parse_memory(OFFERED, ROLLUP).saved, 30 * ksm.KIB)


class SettlingOfTheSaving(unittest.TestCase):
    def settled_at(self, observations):
        settling = demo.Settling()
        for number, observation in enumerate(observations):
            if settling.observe(*observation):
                return number
        return None

    def test_full_passes_without_change_settle_it(self):
        self.assertEqual(self.settled_at([(1, 0), (2, 5000), (3, 5000), (4, 5001), (5, 5000)]), 4)

    def test_a_change_starts_the_count_again(self):
        self.assertIsNone(self.settled_at([(2, 5000), (4, 5000), (5, 6000), (7, 6000)]))

    def test_nothing_merged_yet_is_not_settled(self):
        self.assertIsNone(self.settled_at([(passes, 0) for passes in range(5)]))

    def test_nothing_merged_for_long_is(self):
        self.assertEqual(self.settled_at([(passes, 0) for passes in range(20)]), 11)


class CheckOfTheOffers(unittest.TestCase):
    def test_programs_that_offer_nothing_are_refused(self):
        group = SimpleNamespace(name="program", duplicate=ksm.MIB)
        with mock.patch.object(demo, "measure", return_value=ksm.Memory(0, 0, 0)), \
                self.assertRaisesRegex(demo.Failed, "offers 0.0 MiB"):
            demo.check_offers([group])


class JudgementOfTheSaving(unittest.TestCase):
    def judge(self, saved, freed, claimed):
        group = SimpleNamespace(name="program", duplicate=100 * ksm.MIB)
        memory = ksm.Memory(200 * ksm.MIB, 150 * ksm.MIB, saved * ksm.MIB)
        with mock.patch.object(ksm, "saved", return_value=claimed * ksm.MIB):
            demo.check_savings([(group, memory)], freed * ksm.MIB)

    def test_saving_all_duplicates_passes(self):
        self.judge(saved=100, freed=100, claimed=100)

    def test_too_little_is_refused(self):
        with self.assertRaisesRegex(demo.Failed, "less than 80%"):
            self.judge(saved=70, freed=70, claimed=70)

    def test_counters_that_promise_more_than_the_processes_show_are_refused(self):
        with self.assertRaisesRegex(demo.Failed, "occupy 90.0 MiB less"):
            self.judge(saved=90, freed=90, claimed=120)

    def test_memory_that_was_not_freed_is_refused(self):
        with self.assertRaisesRegex(demo.Failed, "became free"):
            self.judge(saved=100, freed=0, claimed=100)

    def test_more_freed_than_promised_passes(self):
        self.judge(saved=100, freed=130, claimed=100)


class Tables(unittest.TestCase):
    def test_numbers_are_aligned_to_the_right(self):
        self.assertEqual(show.table([("a", "1"), ("bcd", "23")]), ["a     1", "bcd  23"])

    def test_last_line_is_the_total(self):
        group = SimpleNamespace(name="x", instances=[1, 2], duplicate=ksm.MIB)
        memory = ksm.Memory(3 * ksm.MIB, 2 * ksm.MIB, ksm.MIB)
        last = show.savings_table([(group, memory), (group, memory)])[-1]
        self.assertEqual(last.split(), ["total", "4", "6.0", "4.0", "2.0", "2.0"])

    def test_an_estimate_is_in_mib(self):
        pages = {"page_size": 4096, "examined_pages": 1024, "saved_pages": 512,
                 "saved_zero_pages": 256, "saved_in_huge_pages": 0}
        last = show.estimates_table([("x", pages)])[-1]
        self.assertEqual(last.split(), ["x", "4.0", "2.0", "50%", "1.0", "0.0"])


class Verification(unittest.TestCase):
    """Of each program, with two instances."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.groups = [programs.Group(program, 2, 1, 0, directory.name, [])
                       for program, _, _ in demo.CAST]
        self.addCleanup(demo.for_all, self.groups, programs.Instance.stop)
        demo.for_all(self.groups, lambda instance: instance.start())

    def test_loaded_data_is_intact(self):
        demo.for_all(self.groups, lambda instance: instance.verify())

    def test_a_change_is_seen_by_one_instance_only(self):
        demo.change_one_of_each(self.groups)
        demo.for_all(self.groups, lambda instance: instance.verify())

    def test_damage_is_noticed(self):
        for group in self.groups:
            demo.spoil(self.groups, group.name)
            with self.subTest(group.name), self.assertRaisesRegex(programs.Broken, "record"):
                group.instances[-1].verify()

    def test_a_lost_write_is_noticed(self):
        for group in self.groups:
            group.instances[0].expected[0] = b"written, but not kept"
            with self.subTest(group.name), self.assertRaisesRegex(programs.Broken, "record 0"):
                group.instances[0].verify()

    def test_a_program_that_died_is_noticed(self):
        for group in self.groups:
            group.instances[0].process.kill()
            with self.subTest(group.name), self.assertRaises(programs.Broken):
                group.instances[0].verify()


@unittest.skipUnless("OFFER" in os.environ, "OFFER does not name the launcher")
class Launcher(unittest.TestCase):
    def status(self, *command):
        return subprocess.run([os.environ["OFFER"], *command], stderr=subprocess.DEVNULL,
                              check=False).returncode

    def test_passes_the_status_of_the_command(self):
        self.assertEqual(self.status("sh", "-c", "exit 7"), 7)

    def test_needs_a_command(self):
        self.assertEqual(self.status(), 125)

    def test_refuses_what_cannot_be_run(self):
        self.assertEqual(self.status("/"), 126)

    def test_refuses_what_does_not_exist(self):
        self.assertEqual(self.status("/no/such/program"), 127)

    def test_offers_all_memory_that_can_be_merged(self):
        result = subprocess.run([os.environ["OFFER"], "cat", "/proc/self/smaps"],
                                stdout=subprocess.PIPE, check=True, text=True)
        heap = result.stdout.partition("[heap]")[2]
        self.assertIn(" mg", heap[heap.index("VmFlags"):].splitlines()[0])


if __name__ == "__main__":
    unittest.main()
