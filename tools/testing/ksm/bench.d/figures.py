# SPDX-License-Identifier: GPL-2.0
"""The measured figures: kept as rows, in CSV files, and summed up by their medians."""
import csv
import statistics
from collections import namedtuple

# A case is what one run measures: a workload, its size, and smart_scan ("0", "1", or
# "-" for the kernel's default).
Case = namedtuple("Case", "workload pages smart")
Figure = namedtuple("Figure", "flavor repetition case measure value")


def case_of(text):
    workload, pages, smart = text.split(":")
    return Case(workload, int(pages), smart)


def text_of(case):
    return f"{case.workload}:{case.pages}:{case.smart}"


class Summary(namedtuple("Summary", "median low high runs")):
    """Median and extremes of the same figure in all repetitions."""

    @property
    def spread(self):
        """Distance of the extremes as a share of the median."""
        return (self.high - self.low) / abs(self.median) if self.median else 0.0


class Figures:
    """All figures of a run of the benchmark."""

    def __init__(self, rows=()):
        self.rows = list(rows)

    def add(self, *row):
        self.rows.append(Figure(*row))

    def summary(self, flavor, case, measure):
        """The Summary of one figure, or None if it was not measured."""
        values = [row.value for row in self.rows
                  if (row.flavor, row.case, row.measure) == (flavor, case, measure)]
        if not values:
            return None
        return Summary(statistics.median(values), min(values), max(values), len(values))

    def cases(self):
        """All cases, in a reader's order."""
        return sorted({row.case for row in self.rows})

    def measures(self, case):
        """What was measured of a case, in the order in which it came."""
        return list(dict.fromkeys(row.measure for row in self.rows if row.case == case))

    def of_flavor(self, flavor):
        return [row for row in self.rows if row.flavor == flavor]

    def save(self, path):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("flavor", "repetition", "workload", "pages", "smart_scan",
                             "measure", "value"))
            writer.writerows((row.flavor, row.repetition, *row.case, row.measure, row.value)
                             for row in self.rows)

    @classmethod
    def load(cls, path):
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.DictReader(line for line in file if not line.startswith("#"))
            return cls(Figure(row["flavor"], int(row["repetition"]),
                              Case(row["workload"], int(row["pages"]), row["smart_scan"]),
                              row["measure"], float(row["value"]))
                       for row in rows)

    def save_summary(self, path, flavors):
        """One line per case and measure: medians, spreads, and the ratio of the two flavors."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("workload", "pages", "smart_scan", "measure",
                             *(f"{flavor}_{what}" for flavor in flavors
                               for what in ("median", "low", "high")), "ratio"))
            for case in self.cases():
                for measure in self.measures(case):
                    pair = [self.summary(flavor, case, measure) for flavor in flavors]
                    columns = [column for found in pair
                               for column in (found[:3] if found else ("", "", ""))]
                    writer.writerow((*case, measure, *columns, ratio_of(*pair) or ""))


def ratio_of(stock, ours):
    """Stock to ours, or None where one of them is missing or zero."""
    if not stock or not ours or not ours.median:
        return None
    return stock.median / ours.median
