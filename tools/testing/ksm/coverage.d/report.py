# SPDX-License-Identifier: GPL-2.0
"""Usage: report.py FOLDER SOURCE RUN...

Prints a table of what gcovr summed up in FOLDER/all.json: each file's lines and
branches and how many of them were reached, and the percentage of lines that each RUN
reached alone (FOLDER/RUN.json). Then prints the lines that were never reached, with
their text from the tree SOURCE.
"""
import json
import sys
from pathlib import Path


def has_code(line):
    return not (line.get("gcovr/noncode") or line.get("gcovr/excluded"))


def load(path):
    """The lines with code of each file, by number."""
    with open(path) as file:
        files = json.load(file)["files"]
    return {f["file"]: {line["line_number"]: line for line in f["lines"] if has_code(line)}
            for f in files}


def tally(counts):
    """How many of the counts there are, and how many are not 0."""
    return len(counts), sum(count > 0 for count in counts)


def line_counts(lines):
    return [line["count"] for line in lines.values()]


def branch_counts(lines):
    return [branch["count"] for line in lines.values() for branch in line["branches"]]


def percent(total, reached):
    return f"{100 * reached / total:.1f}" if total else "-"


def cells(lines, runs):
    """What one row of the table says: of these lines, and of the same in each run."""
    row = []
    for total, reached in (tally(line_counts(lines)), tally(branch_counts(lines))):
        row += [str(total), str(reached), percent(total, reached)]
    return row + [percent(*tally(line_counts(run))) for run in runs]


def merged(files):
    return {(name, number): line for name, lines in files.items() for number, line in lines.items()}


def table(files, names, runs):
    yield ["", "lines", "reached", "%", "branches", "taken", "%", *(f"{name} %" for name in names)]
    for file in sorted(files):
        yield [Path(file).name, *cells(files[file], [run.get(file, {}) for run in runs])]
    yield ["all", *cells(merged(files), [merged(run) for run in runs])]


def print_table(rows):
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows)]
    for first, *rest in rows:
        numbers = (cell.rjust(width) for cell, width in zip(rest, widths[1:]))
        print(first.ljust(widths[0]), *numbers, sep="  ")


def print_unreached(files, root):
    for file in sorted(files):
        text = (root / file).read_text().splitlines()
        for number, line in sorted(files[file].items()):
            if not line["count"]:
                print(f"{file}:{number}:{text[number - 1]}")


def main():
    folder, root, *names = sys.argv[1:]
    folder = Path(folder)
    files = load(folder / "all.json")
    print_table(table(files, names, [load(folder / f"{name}.json") for name in names]))
    print("\nnever reached:")
    print_unreached(files, Path(root))


main()
