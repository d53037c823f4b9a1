# SPDX-License-Identifier: GPL-2.0
"""What the administrator sees, and the files with the same for later."""
import csv

import ksm

BAR_WIDTH = 20
SECONDS_PER_LINE = 2  # without a terminal; on one, the line is always up to date

PROGRESS_COLUMNS = ("seconds", "ksmd_cpu_seconds", "saved_mib", "duplicate_mib", *ksm.SHOWN)


def mib(size):
    return f"{size / ksm.MIB:.1f}"


class Progress:
    """Writes how the saving grows: to the screen, and to a file of comma-separated values."""

    def __init__(self, live, duplicate, path):
        self.live = live
        self.duplicate = duplicate
        self.next_line = 0.0
        self.unseen = None
        self.file = open(path, "w", newline="")
        self.csv = csv.writer(self.file)
        self.csv.writerow(PROGRESS_COLUMNS)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.file.close()
        if self.live:
            print()
        elif self.unseen:
            print(self.unseen, flush=True)

    def update(self, seconds, cpu, counters):
        saved = counters["pages_sharing"] * ksm.PAGE
        self.csv.writerow((f"{seconds:.2f}", f"{cpu:.2f}", mib(saved), mib(self.duplicate),
                           *counters.values()))
        line = progress_line(seconds, cpu, saved, self.duplicate, counters)
        if self.live:
            print(f"\r{line}\033[K", end="", flush=True)
        elif seconds >= self.next_line:
            self.next_line += SECONDS_PER_LINE
            self.unseen = None
            print(line, flush=True)
        else:
            self.unseen = line


def progress_line(seconds, cpu, saved, duplicate, counters):
    share = min(saved / duplicate, 1.0)
    bar = ("#" * round(share * BAR_WIDTH)).ljust(BAR_WIDTH, ".")
    return (f"{seconds:6.1f} s  [{bar}] {mib(saved):>6} MiB saved, "
            f"{counters['full_scans']:3} passes, ksmd ran {cpu:5.1f} s")


def table(rows):
    """Aligned lines from rows of words: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0])] +
                      [word.rjust(width) for word, width in zip(row[1:], widths[1:])])
            for row in rows]


def savings_table(savings):
    """One line per program; savings is a list of (Group, ksm.Memory)."""
    rows = [("", "instances", "offered", "merged", "saved", "duplicate")]
    rows += [_savings_row(group.name, [(group, memory)]) for group, memory in savings]
    rows.append(_savings_row("total", savings))
    lines = table(rows)
    rule = "-" * len(lines[0])
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]


def _savings_row(name, savings):
    sizes = [sum(sizes) for sizes in zip(*((*memory, group.duplicate)
                                           for group, memory in savings))]
    return (name, str(sum(len(group.instances) for group, _ in savings)), *map(mib, sizes))


def estimates_table(estimates):
    """One line for each (name, what "ksmctl estimate --json" says)."""
    rows = [("", "examined", "saved", "part", "by zeroes", "from huge pages")]
    rows += [_estimate_row(name, estimate) for name, estimate in estimates]
    lines = table(rows)
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _estimate_row(name, estimate):
    pages = [estimate[f"{kind}_pages"] for kind in ("examined", "saved", "saved_zero",
                                                    "saved_in_huge")]
    examined, saved, zero, huge = (mib(number * estimate["page_size"]) for number in pages)
    return (name, examined, saved, f"{pages[1] / max(pages[0], 1):.0%}", zero, huge)


def counters_table(counters):
    return table([(name, str(value)) for name, value in counters.items()])
