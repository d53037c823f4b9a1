# SPDX-License-Identifier: GPL-2.0
"""
The programs of the demonstration: none of them is ours, each keeps records in memory.

A record is a line of text.  Every Instance can be started with a set of records,
read back completely, and told to change one record; verify() compares what it
reads with what the instance must hold, byte by byte.
"""
import base64
import os
import random
import sqlite3
import subprocess
import time
from pathlib import Path

import ksm

HERE = Path(__file__).resolve().parent
READY_SECONDS = 60  # a server starts in well under a second, also under emulation

# Two pages, nearly: jemalloc and glibc then keep a record in memory of its own,
# without pointers between, whose addresses differ from process to process.
RECORD_BYTES = 8000

# As many keys per MGET as keep its reply, and the memory for it, small.
KEYS_PER_REQUEST = 32

PIPE_BYTES = 65536  # as much as a pipe holds


class Broken(Exception):
    """A program does not do or hold what it must; the text says which and what."""


def make_records(seed, count):
    """Seeded random text: no two records, hence no two pages, of a set are equal."""
    source = random.Random(seed)
    return [make_record(source) for _ in range(count)]


def make_record(source):
    return base64.b64encode(source.randbytes(RECORD_BYTES * 3 // 4))


class Instance:
    """One running process of a program."""
    name = None

    def __init__(self, number, records, directory, launcher):
        self.number = number
        self.expected = list(records)
        self.directory = Path(directory)
        self.launcher = launcher
        self.process = None

    def __str__(self):
        return f"{self.name} {self.number}"

    def prepare(self):
        """Make what start() of any instance needs; called once per program."""

    def start(self):
        """Start the process and load the records into it."""
        raise NotImplementedError

    def read(self):
        """All records, as the process holds them."""
        raise NotImplementedError

    def write(self, changes):
        """Change records in the process; changes is {index: text}."""
        raise NotImplementedError

    def change(self, changes):
        """Change records, and expect the changed ones from now on."""
        self.write(changes)
        for index, text in changes.items():
            self.expected[index] = text

    def verify(self):
        found = self.read()
        if len(found) != len(self.expected):
            raise Broken(f"{self} holds {len(found)} records instead of {len(self.expected)}")
        if found != self.expected:
            index = next(i for i, text in enumerate(found) if text != self.expected[i])
            raise Broken(f"{self}: record {index} is not what was written to it")

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def popen(self, *command, **streams):
        with open(self.directory / f"{self}.log", "wb") as log:
            return subprocess.Popen([*self.launcher, *command],
                                    **{"stdin": subprocess.DEVNULL, "stdout": log, **streams},
                                    stderr=log, env={**os.environ, "LC_ALL": "C"})

    def log(self):
        return (self.directory / f"{self}.log").read_text(errors="replace").strip()


class Group:
    """All instances of one program; they hold the same records."""

    def __init__(self, program, count, megabytes, seed, directory, launcher):
        records = make_records(seed, megabytes * ksm.MIB // RECORD_BYTES)
        self.name = program.name
        self.instances = [program(number, records, directory, launcher)
                          for number in range(1, count + 1)]
        self.duplicate = (count - 1) * len(records) * RECORD_BYTES
        self.instances[0].prepare()


class Redis(Instance):
    """redis-server without any file, reached with redis-cli over a socket."""
    name = "redis-server"

    def prepare(self):
        self.requests.write_bytes(_redis_requests("SET %s %s", dict(enumerate(self.expected))))

    def start(self):
        self.process = self.popen(
            "redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "",
            "--appendonly", "no", "--daemonize", "no")
        self._wait_until_ready()
        self._send(self.requests.read_bytes(), len(self.expected))

    def read(self):
        keys = [f"record:{index}" for index in range(len(self.expected))]
        requests = "".join(f"MGET {' '.join(keys[start:start + KEYS_PER_REQUEST])}\n"
                           for start in range(0, len(keys), KEYS_PER_REQUEST))
        return self._cli("--raw", text=requests.encode()).splitlines()

    def write(self, changes):
        self._send(_redis_requests("SETRANGE %s 0 %s", changes), len(changes))

    @property
    def requests(self):
        return self.directory / f"{self.name}.requests"

    @property
    def socket(self):
        return str(self.directory / f"redis-{self.number}.socket")

    def _wait_until_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if os.path.exists(self.socket):
                return
            time.sleep(0.05)
        raise Broken(f"{self} did not start: {self.log()}")

    def _send(self, requests, count):
        answer = self._cli("--pipe", text=requests).decode()
        if f"errors: 0, replies: {count}" not in answer:
            raise Broken(f"{self} did not take the records: {answer.strip()}")

    def _cli(self, *arguments, text):
        result = subprocess.run(["redis-cli", "-s", self.socket, *arguments], input=text,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if result.returncode:
            raise Broken(f"{self} does not answer: {result.stdout.decode().strip()}")
        return result.stdout


def _redis_requests(command, records):
    """One command per record, such as "SET %s %s", in Redis' own protocol."""
    requests = bytearray()
    for index, text in records.items():
        words = (command.encode() % (b"record:%d" % index, text)).split(b" ")
        requests += b"*%d\r\n" % len(words)
        for word in words:
            requests += b"$%d\r\n%s\r\n" % (len(word), word)
    return requests


class PipeInstance(Instance):
    """
    A program that reads commands from a pipe, and answers with lines up to "END".

    The commands are "dump": print all records, and "set INDEX TEXT": change one.
    """
    dump = "dump"
    set = "set {} {}"

    def prepare(self):
        self.file.write_bytes(b"".join(record + b"\n" for record in self.expected))

    def start(self):
        self.process = self.popen(*self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  bufsize=PIPE_BYTES)
        self._answer()

    def command(self):
        """The command line that loads the records from the file."""
        raise NotImplementedError

    @property
    def file(self):
        return self.directory / f"{self.name}.data"

    def read(self):
        return self.ask(self.dump)

    def write(self, changes):
        for index, text in changes.items():
            self.ask(self.set.format(index, text.decode()))

    def ask(self, command):
        try:
            self.process.stdin.write(command.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # _answer() says so
        return self._answer()

    def _answer(self):
        lines = []
        for line in self.process.stdout:
            if line == b"END\n":
                return lines
            lines.append(line.rstrip(b"\n"))
        raise Broken(f"{self} ended by itself with status {self.process.wait()}: {self.log()}")


class Python(PipeInstance):
    """python3 with the records in one bytearray, changed in place."""
    name = "python3"

    def command(self):
        return ["python3", str(HERE / "holder.py"), str(self.file)]


class Busybox(PipeInstance):
    """busybox awk with the records in an array of strings."""
    name = "busybox"

    def command(self):
        return ["busybox", "awk", "-v", f"file={self.file}", "-f", str(HERE / "holder.awk")]


class Sqlite(PipeInstance):
    """sqlite3 with the records in a table of an in-memory database."""
    name = "sqlite3"
    dump = "SELECT text FROM record ORDER BY number;\n.print END"
    set = "UPDATE record SET text = '{1}' WHERE number = {0};\n.print END"
    check = "PRAGMA integrity_check;\n.print END"

    def command(self):
        # The file is read once; the database then lives in memory alone.
        return ["sqlite3", "-batch", "-cmd", ".print END", "-deserialize", str(self.file)]

    def prepare(self):
        with sqlite3.connect(self.file) as database:
            database.execute("CREATE TABLE record (number INTEGER PRIMARY KEY, text TEXT)")
            database.executemany("INSERT INTO record VALUES (?, ?)",
                                 ((i, text.decode()) for i, text in enumerate(self.expected)))
        database.close()

    def verify(self):
        super().verify()
        found = self.ask(self.check)
        if found != [b"ok"]:
            raise Broken(f"{self}: the database is damaged: {b' '.join(found).decode()}")
