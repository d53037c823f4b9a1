# SPDX-License-Identifier: GPL-2.0
"""Hold many small texts; print their checksum, wait for a line, print it once more."""
import sys
import zlib

TEXTS = [f"{number:0400}" for number in range(20000)]


def checksum():
    value = 0
    for text in TEXTS:
        value = zlib.crc32(text.encode(), value)
    return value


print(checksum(), flush=True)
sys.stdin.readline()
print(checksum())
