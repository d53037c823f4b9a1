# SPDX-License-Identifier: GPL-2.0
"""Keep a file of equally long lines in memory and serve them: see PipeInstance in programs.py."""
import sys


def main():
    with open(sys.argv[1], "rb") as file:
        data = bytearray(file.read())
    stride = data.index(b"\n") + 1
    out = sys.stdout.buffer

    print("END", flush=True)
    for line in sys.stdin.buffer:
        command, *arguments = line.split()
        if command == b"dump":
            out.write(data)
        elif command == b"set":
            start = int(arguments[0]) * stride
            data[start:start + stride] = arguments[1] + b"\n"
        out.write(b"END\n")
        out.flush()


main()
