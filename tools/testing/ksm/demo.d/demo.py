# SPDX-License-Identifier: GPL-2.0
"""
Show that ksmd saves memory between real programs, and that it does no harm.

Starts several instances of each program with the same data, offers their memory
to ksmd, watches the saving grow until it has settled, and then checks every
program's data: merged, after a part of it was changed, and unmerged.

Exit status: 0 if memory was saved and all data is intact; 1 if not, with a
sentence that says what is wrong; 2 if the command line is wrong.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from operator import methodcaller
from pathlib import Path

import ksm
import programs
import show

# Program, instances, MiB of data in each.  Under software emulation, the stock
# kernel has merged all of it in less than ten seconds; loading takes longer.
CAST = ((programs.Redis, 4, 12), (programs.Python, 4, 12), (programs.Sqlite, 3, 12),
        (programs.Busybox, 4, 4))

# Until all is merged: about 60 ms of work under software emulation, then a pause. ksmd
# takes most of a processor, as nobody wants to watch for minutes what the defaults would
# take. What it costs to keep it merged is shown at the kernel's own pace.
HURRY = (("pages_to_scan", 2000), ("sleep_millisecs", 20))

# The least part of the duplicate data of each program that must be saved.  The
# rest is for pages at the edges of records, where the data meets the program's own.
MIN_SAVED_SHARE = 0.8

# What the counters report and what /proc says about the processes are not read at
# the same moment, and the kernel keeps the totals a few hundred pages behind: 1 or 2 %.
AGREEMENT = 0.05

SETTLED_PASSES = 2  # the saving must not change for that long
HOPELESS_PASSES = 10  # without any saving: the first passes only get to know the pages
SETTLE_SECONDS = 150  # stock needs 8 under emulation; a debug kernel is several times slower
UNMERGE_SECONDS = 30
SAMPLE_SECONDS = 0.5

CHANGE_EVERY = 8  # of the records, every eighth is changed in one instance


class Failed(Exception):
    """The demonstration did not show what it must; the text says why."""


def main():
    options = parse_command_line()
    with tempfile.TemporaryDirectory(prefix="ksm-demo-") as directory:
        try:
            demonstrate(options, directory)
        except (Failed, programs.Broken, OSError) as reason:
            print(f"demo: FAILED: {reason}.")
            return 1
    return 0


def parse_command_line():
    parser = argparse.ArgumentParser(prog="demo.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--offer", metavar="PROGRAM", help="launcher that offers memory to ksmd")
    parser.add_argument("--out", metavar="DIR", help="folder for result.txt and progress.csv")
    parser.add_argument("--ksmctl", metavar="PROGRAM",
                        help="show what this says before merging and after it; record with it")
    parser.add_argument("--live", action="store_true", help="progress as one changing line")
    parser.add_argument("--no-ksm", action="store_true",
                        help="leave KSM alone: only load, change and verify the data")
    parser.add_argument("--spoil", metavar="PROGRAM", choices=[c[0].name for c in CAST],
                        help="damage this program's data, to see that it is noticed")
    options = parser.parse_args()
    if not options.no_ksm and not (options.offer and options.out):
        parser.error("--offer and --out are needed, or --no-ksm")
    return options


def demonstrate(options, directory):
    check_requirements(options)
    launcher = [] if options.no_ksm else [options.offer]
    groups = [programs.Group(*part, seed, directory, launcher) for seed, part in enumerate(CAST)]
    try:
        say("Starting " + ", ".join(f"{len(group.instances)} {group.name}" for group in groups))
        for_all(groups, methodcaller("start"))
        if options.spoil:
            spoil(groups, options.spoil)
        verify(groups, "before merging")
        if options.no_ksm:
            change_one_of_each(groups)
            verify(groups, "after a change")
        else:
            merge_and_verify(groups, options)
    finally:
        for_all(groups, methodcaller("stop"))


def check_requirements(options):
    missing = [name for name in ("redis-server", "redis-cli", "python3", "sqlite3", "busybox")
               if not shutil.which(name)]
    if missing:
        raise Failed(f"not installed: {', '.join(missing)}")
    if options.no_ksm:
        return
    if not ksm.available():
        raise Failed(f"this kernel has no {ksm.SYSFS}")
    probe = subprocess.run([options.offer, "true"], stderr=subprocess.PIPE, check=False)
    if probe.returncode:
        raise Failed(probe.stderr.decode().strip())


def merge_and_verify(groups, options):
    out = Path(options.out)
    check_offers(groups)
    prepare_ksm()
    if options.ksmctl:
        show_estimates(groups, options.ksmctl)
    with recording(options.ksmctl, out / "recording.csv"):
        merge_change_and_unmerge(groups, out, options)


def merge_change_and_unmerge(groups, out, options):
    occupied = ksm.all_processes_memory()
    pace = set_knobs(HURRY)
    ksm.set_knob("run", 1)
    say("Merging, until nothing more is gained")
    wait_until_settled(sum(group.duplicate for group in groups), out, options.live)
    set_knobs(pace)
    savings = [(group, measure(group)) for group in groups]
    freed = occupied - ksm.all_processes_memory()
    report(savings, freed, out)
    if options.ksmctl:
        show_state(options.ksmctl)
    check_savings(savings, freed)

    verify(groups, "while merged")
    unshared = change_merged_memory(groups)
    wait_passes(SETTLED_PASSES)
    verify(groups, f"after changing {show.mib(unshared)} MiB of merged memory in one of each")
    unmerge(groups)
    verify(groups, "after unmerging everything")
    say(f"PASSED: {show.mib(sum(memory.saved for _, memory in savings))} MiB saved, "
        "all data intact, all merging undone")


def prepare_ksm():
    """Start from nothing: no merged page, no counter but the cumulative ones."""
    ksm.set_knob("run", 2)
    wait_until_empty()
    ksm.set_knob("run", 0)


def set_knobs(knobs):
    """Returns what they were, for another call."""
    former = [(name, ksm.counter(name)) for name, _ in knobs]
    for name, value in knobs:
        ksm.set_knob(name, value)
    return former


@contextmanager
def recording(ksmctl, path):
    """Have ksmctl note saving and cost all the while, for its picture of them."""
    if not ksmctl:
        yield
        return
    with subprocess.Popen([ksmctl, "record", "--interval", str(SAMPLE_SECONDS),
                           "--output", path]) as recorder:
        try:
            yield
        finally:
            recorder.terminate()
    if recorder.returncode:
        raise Failed(f"ksmctl record ended with {recorder.returncode}")


def show_estimates(groups, ksmctl):
    """What is to be expected of each program alone, and of all processes together."""
    estimates = [(group.name, [str(instance.process.pid) for instance in group.instances])
                 for group in groups]
    estimates.append(("all processes", ["--all"]))
    table = show.estimates_table([(name, json.loads(ask(ksmctl, "estimate", "--json", *pids)))
                                  for name, pids in estimates])
    print("\n".join(["", "What ksmctl estimates, in MiB", "", *table, ""]), flush=True)


def show_state(ksmctl):
    for command in (("status",), ("top", "--batch")):
        print(f"ksmctl {' '.join(command)}\n\n{ask(ksmctl, *command)}", flush=True)


def ask(ksmctl, *arguments):
    result = subprocess.run([ksmctl, *arguments], stdout=subprocess.PIPE, check=False, text=True)
    if result.returncode:
        raise Failed(f"ksmctl {' '.join(arguments)} ended with {result.returncode}")
    return result.stdout


def check_offers(groups):
    for group in groups:
        offered = measure(group).offered
        if offered < group.duplicate:
            raise Failed(f"{group.name} offers {show.mib(offered)} MiB to ksmd, less than its data")


def wait_until_settled(duplicate, out, live):
    """Wait, and show the saving, until it has not changed over full passes."""
    settling = Settling()
    start, cpu = time.monotonic(), ksm.ksmd_seconds()
    with show.Progress(live, duplicate, out / "progress.csv") as progress:
        settled = False
        while not settled and time.monotonic() < start + SETTLE_SECONDS:
            time.sleep(SAMPLE_SECONDS)
            counters = ksm.counters()
            settled = settling.observe(counters["full_scans"], counters["pages_sharing"])
            progress.update(time.monotonic() - start, ksm.ksmd_seconds() - cpu, counters)
    if not settled:
        say(f"Not settled after {SETTLE_SECONDS} s; going on with what is merged now")


class Settling:
    """Finds out when pages_sharing has stayed the same over full passes."""
    SLACK = 0.005  # of the pages: idle programs touch a few now and then

    def __init__(self):
        self.since = self.pages = 0

    def observe(self, full_scans, pages):
        if abs(pages - self.pages) > self.pages * self.SLACK:
            self.since, self.pages = full_scans, pages
        # The pass that was under way when it changed last does not count.
        return full_scans - self.since > (SETTLED_PASSES if pages else HOPELESS_PASSES)


def wait_passes(passes):
    goal = ksm.counter("full_scans") + passes + 1  # of which one is under way
    deadline = time.monotonic() + SETTLE_SECONDS
    while ksm.counter("full_scans") < goal:
        if time.monotonic() > deadline:
            raise Failed(f"ksmd did not get through {passes} passes in {SETTLE_SECONDS} s")
        time.sleep(SAMPLE_SECONDS)


def measure(group):
    memories = [ksm.memory(instance.process.pid) for instance in group.instances]
    return ksm.Memory(*map(sum, zip(*memories)))


def report(savings, freed, out):
    counters = ksm.counters()
    lines = ["Memory of each program, in MiB", "", *show.savings_table(savings), "",
             "offered: memory that ksmd may merge; merged: what of it is shared now;",
             "saved: memory that is free again; duplicate: what the demonstration itself stored",
             "more than once, which is the least to expect.",
             f"By the processes' own accounts they take {show.mib(freed)} MiB less than before.", "",
             f"{ksm.SYSFS} (pages of {ksm.PAGE} bytes; general_profit in bytes)", "",
             *show.counters_table(counters)]
    text = "\n".join(lines) + "\n"
    print(f"\n{text}", flush=True)
    (out / "result.txt").write_text(text)


def check_savings(savings, freed):
    for group, memory in savings:
        if memory.saved < group.duplicate * MIN_SAVED_SHARE:
            raise Failed(f"{group.name} saved {show.mib(memory.saved)} MiB, less than "
                         f"{MIN_SAVED_SHARE:.0%} of its {show.mib(group.duplicate)} MiB of "
                         "duplicate data")
    claimed = ksm.saved()
    found = sum(memory.saved for _, memory in savings)
    if abs(found - claimed) > claimed * AGREEMENT:
        raise Failed(f"the programs occupy {show.mib(found)} MiB less, but pages_sharing says "
                     f"{show.mib(claimed)} MiB")
    # More is right: splitting a huge page also frees those of its pages that are all zeroes.
    if freed < claimed * (1 - AGREEMENT):
        raise Failed(f"only {show.mib(freed)} MiB of memory became free, but pages_sharing says "
                     f"{show.mib(claimed)} MiB")


def change_one_of_each(groups):
    """Change some records in the first instance of each program, and in no other."""
    for group in groups:
        instance = group.instances[0]
        chosen = range(0, len(instance.expected), CHANGE_EVERY)
        records = programs.make_records(f"changed {group.name}", len(chosen))
        instance.change(dict(zip(chosen, records)))


def change_merged_memory(groups):
    """Do so while they are merged; returns how many bytes became private again."""
    pids = [group.instances[0].process.pid for group in groups]
    merged = [ksm.merged(pid) for pid in pids]
    change_one_of_each(groups)
    unshared = [before - ksm.merged(pid) for before, pid in zip(merged, pids)]
    for group, size in zip(groups, unshared):
        if size <= 0:
            raise Failed(f"changing the data of {group.name} did not touch any merged page")
    return sum(unshared)


def unmerge(groups):
    say("Undoing all merging")
    ksm.set_knob("run", 2)
    wait_until_empty()
    for group in groups:
        for instance in group.instances:
            left = ksm.merged(instance.process.pid)
            if left:
                raise Failed(f"{instance} still has {left // ksm.PAGE} merged pages after run=2")


def wait_until_empty():
    deadline = time.monotonic() + UNMERGE_SECONDS
    while True:
        left = {name: value for name, value in ksm.counters(ksm.EMPTY_AFTER_UNMERGE).items()
                if value}
        if not left:
            return
        if time.monotonic() > deadline:
            raise Failed("after run=2 not everything is back to zero: " +
                         ", ".join(f"{name} is {value}" for name, value in left.items()))
        time.sleep(SAMPLE_SECONDS)


def spoil(groups, name):
    """Change a record behind the back of the verification, which must notice."""
    last = next(group for group in groups if group.name == name).instances[-1]
    last.write({len(last.expected) // 2: b"spoilt".ljust(programs.RECORD_BYTES, b"!")})


def verify(groups, when):
    for_all(groups, methodcaller("verify"))
    say(f"All data verified {when}")


def for_all(groups, action):
    """Do the same with every instance, on as many processors as there are."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(action, [instance for group in groups for instance in group.instances]))


def say(text):
    print(f"{text}.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
