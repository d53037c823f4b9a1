# SPDX-License-Identifier: GPL-2.0
"""What the kernel says about KSM: knobs, counters, and the memory of one process."""
import functools
import os
import re
from collections import namedtuple
from pathlib import Path

SYSFS = Path("/sys/kernel/mm/ksm")
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
KIB = 1024
MIB = 1024 * 1024

# Shown at the end, and recorded on the way.
SHOWN = ("pages_shared", "pages_sharing", "pages_unshared", "pages_volatile", "pages_skipped",
         "pages_scanned", "full_scans", "ksm_zero_pages", "stable_node_chains",
         "stable_node_dups", "general_profit")

# Zero when nothing is merged and nothing is remembered: so after run=2.
EMPTY_AFTER_UNMERGE = ("pages_shared", "pages_sharing", "pages_unshared", "pages_volatile",
                       "ksm_zero_pages", "stable_node_chains", "stable_node_dups",
                       "general_profit")

# Bytes that one process offers to ksmd, has mapped to shared pages, and costs less for that.
Memory = namedtuple("Memory", "offered merged saved")


def available():
    return (SYSFS / "run").exists()


def counter(name):
    """The value of one counter; 0 if this kernel does not have it."""
    try:
        return int((SYSFS / name).read_text())
    except FileNotFoundError:
        return 0


def counters(names=SHOWN):
    return {name: counter(name) for name in names}


def set_knob(name, value):
    try:
        (SYSFS / name).write_text(f"{value}\n")
    except OSError as error:  # which does not know the file's name by then
        raise OSError(error.errno, error.strerror, str(SYSFS / name)) from error


def saved():
    """Bytes that all merging together saves: each sharing mapping needs no page of its own."""
    return counter("pages_sharing") * PAGE


def parse_memory(smaps, rollup):
    """
    Memory of one process from the text of its smaps and smaps_rollup.

    Offered is the anonymous memory present in mergeable mappings ("mg"); pages of
    files are never merged.  A page mapped k times counts 1/k in each Pss, so what a
    process does not pay of its anonymous memory is Anonymous - Pss_Anon.  Nothing
    but KSM shares anonymous pages between processes that were started by exec;
    hence this is the exact share of each one in the saving, and over all processes
    it adds up to mappings minus shared pages, which is pages_sharing.
    """
    return Memory(_offered(smaps), _kib(rollup, "KSM"),
                  _kib(rollup, "Anonymous") - _kib(rollup, "Pss_Anon"))


def memory(pid):
    process = Path("/proc", str(pid))
    return parse_memory((process / "smaps").read_text(), (process / "smaps_rollup").read_text())


def merged(pid):
    """Bytes that a process has mapped to shared pages right now."""
    return _kib(Path("/proc", str(pid), "smaps_rollup").read_text(), "KSM")


def all_processes_memory():
    """Bytes of anonymous memory that all processes together really occupy."""
    return _kib(Path("/proc/meminfo").read_text(), "AnonPages")


def ksmd_seconds():
    """Processor time that ksmd has used since boot."""
    user, system = (_ksmd() / "stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


@functools.lru_cache(maxsize=None)
def _ksmd():
    # A kernel thread started at boot: among the first there, and none ends meanwhile.
    processes = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    return next(process for process in (Path("/proc", str(pid)) for pid in processes)
                if (process / "comm").read_text() == "ksmd\n")


def _offered(smaps):
    total = anonymous = 0
    for line in smaps.splitlines():
        if line.startswith("Anonymous:"):
            anonymous = int(line.split()[1]) * KIB
        elif line.startswith("VmFlags:") and "mg" in line.split():
            total += anonymous
    return total


def _kib(text, field):
    """The bytes in a line such as "AnonPages:   1234 kB" of the text."""
    return int(re.search(rf"^{field}: *(\d+) kB$", text, re.MULTILINE)[1]) * KIB
