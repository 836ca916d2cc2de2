"""Clients that work on the same few blocks of a volume beside each other and write down when each operation began and ended, so that
history_check (tests/mesh/history_check.cc) can judge whether what they were told is linearizable.

A client has one request out at a time. When its connection breaks, or nobody answers for as long as it has patience, nobody knows what
became of the request: it has no end, and the client goes on with another one, at whoever serves the export then."""
import itertools
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../nbd"))
from harness import attach, receive, request, simple_reply, READ, TRIM, WRITE, WRITE_ZEROES  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
CHECK = os.environ.get("HISTORY_CHECK", os.path.join(HERE, "../../build/release/bin/history_check"))
BLOCK, SECTOR, SECTORS = 4096, 512, 8
ESHUTDOWN = 108
TORN = (1 << 64) - 1  # written by nobody


class Client(threading.Thread):
    def __init__(self, number, path, export, blocks, patience, seed, pause):
        super().__init__(daemon=True)
        self.number, self.path, self.export, self.blocks, self.patience, self.pause = number, path, export.encode(), blocks, patience, pause
        self.random = random.Random(seed * 1000 + number)
        self.lines = []
        self.answered = self.unanswered = 0
        self.errors = []
        self.ending = threading.Event()

    def run(self):
        connection = None
        for n in itertools.count(1):
            if self.ending.is_set():
                break
            try:
                connection = connection or self.connect()
                if connection:
                    self.one(connection, n)
            except (OSError, EOFError):
                self.unanswered += 1
                connection = connection and connection.close()
            except Exception as error:  # pylint: disable=broad-except
                self.errors.append(f"client {self.number}: {error!r}")
                break
        if connection:
            connection.close()

    def connect(self):
        """Nobody serves it now: try again later."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(self.patience)
        try:
            connection.connect(self.path)
            return attach(connection, self.export, structured=False)
        except (OSError, EOFError):
            connection.close()
            time.sleep(0.02)
            return None

    def one(self, connection, n):
        name, block = f"{self.number}.{n}", self.random.randrange(self.blocks)
        dice = self.random.random()
        if dice < 0.5:
            self.begin(f"begin {name} read {block}")
            connection.sendall(request(READ, n, block * BLOCK, BLOCK))
            self.finish(connection, name, n, BLOCK)
            return
        first, sectors, value, command = 0, SECTORS, self.number << 40 | n, WRITE
        if dice < 0.65:
            first = self.random.randrange(SECTORS)
            sectors = self.random.randint(1, SECTORS - first)
        elif dice < 0.7:
            value, command = 0, self.random.choice([TRIM, WRITE_ZEROES])
        payload = struct.pack("<Q", value) * (sectors * SECTOR // 8) if command == WRITE else b""
        self.begin(f"begin {name} write {block} {first} {sectors} {value}")
        connection.sendall(request(command, n, block * BLOCK + first * SECTOR, sectors * SECTOR) + payload)
        self.finish(connection, name, n, 0)

    def begin(self, line):
        self.lines.append(f"{line} {time.monotonic_ns()}")

    def finish(self, connection, name, n, size):
        error, cookie = simple_reply(connection)
        if cookie != n:
            raise ValueError(f"no reply to {n}: {cookie}")
        if error == ESHUTDOWN:
            raise EOFError("it is served elsewhere now")
        if error:
            self.errors.append(f"{name}: error {error}")
            return
        data = receive(connection, size)
        ended = time.monotonic_ns()
        seen = "".join(f" {self.value_of(data[at:at + SECTOR])}" for at in range(0, size, SECTOR))
        self.lines.append(f"end {name} {ended}{seen}")
        self.answered += 1
        if self.pause:
            time.sleep(self.pause)

    @staticmethod
    def value_of(sector):
        return struct.unpack_from("<Q", sector)[0] if sector == sector[:8] * (SECTOR // 8) else TORN


class History:
    """Starts at once. `patience` is that of each client in turn, in seconds."""

    def __init__(self, path, export, clients=6, blocks=4, patience=(2, 5, 60), seed=1, pause=0.001):
        self.clients = [Client(number, path, export, blocks, patience[number % len(patience)], seed, pause) for number in range(1, clients + 1)]
        for client in self.clients:
            client.start()

    @property
    def answered(self):
        return sum(client.answered for client in self.clients)

    @property
    def unanswered(self):
        return sum(client.unanswered for client in self.clients)

    @property
    def errors(self):
        return [error for client in self.clients for error in client.errors]

    def stop(self):
        for client in self.clients:
            client.ending.set()
        for client in self.clients:
            client.join(120)
            if client.is_alive():
                client.errors.append(f"client {client.number} does not end")

    def lines(self):
        return [line for client in self.clients for line in client.lines]

    def save(self, path):
        with open(path, "w", encoding="ascii") as file:
            file.write("".join(line + "\n" for line in self.lines()))


def check(path):
    """(exit code, what it says)"""
    done = subprocess.run([CHECK, path], capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout + done.stderr


def plant_stale_read(lines):
    """The history with one read that sees what it cannot: the value of a whole block's write that another one had replaced before the read
    began. None if there is no such place."""
    begun, ended = {}, {}
    for line in lines:
        word, name, *rest = line.split()
        (begun if word == "begin" else ended)[name] = rest
    writes = {}  # block -> (ended, begun, value), whole blocks that were acknowledged
    for name, rest in begun.items():
        if rest[0] == "write" and rest[2:4] == ["0", str(SECTORS)] and rest[4] != "0" and name in ended:
            writes.setdefault(rest[1], []).append((int(ended[name][0]), int(rest[5]), rest[4]))
    for name in reversed(list(begun)):
        if begun[name][0] != "read" or name not in ended:
            continue
        start = int(begun[name][2])
        before = sorted(w for w in writes.get(begun[name][1], []) if w[0] < start)
        if len(before) < 2:
            continue
        newer = before[-1]
        older = [w for w in before if w[0] < newer[1]]
        if older:
            false = f"end {name} {ended[name][0]}" + f" {older[-1][2]}" * SECTORS
            return [false if line.startswith(f"end {name} ") else line for line in lines]
    return None
