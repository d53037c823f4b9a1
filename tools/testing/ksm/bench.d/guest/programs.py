# SPDX-License-Identifier: GPL-2.0
"""
Start the programs of the demonstration with their data, print how many pages they
offer to ksmd, and keep them until this process is killed.

Usage: programs.py LAUNCHER, where LAUNCHER starts a program with its memory offered.
"""
import signal
import sys
import tempfile
from operator import methodcaller
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "demo.d"))

import demo  # pylint: disable=wrong-import-position
import ksm  # pylint: disable=wrong-import-position
import programs  # pylint: disable=wrong-import-position


def main():
    with tempfile.TemporaryDirectory() as directory:
        groups = [programs.Group(*part, seed, directory, sys.argv[1:2])
                  for seed, part in enumerate(demo.CAST)]
        demo.for_all(groups, methodcaller("start"))
        print(sum(demo.measure(group).offered for group in groups) // ksm.PAGE, flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
