"""A client that writes 4 KiB blocks at random, remembers what each block may hold, and comes back to the same socket when its connection
breaks, as a patient client does. So it can say afterwards whether anything acknowledged was lost."""
import os
import random
import socket
import struct
import sys
import threading
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../nbd"))
from harness import attach, receive, request, simple_reply, READ, WRITE  # noqa: E402
from stalls import WRONG  # noqa: E402

BLOCK = 4096
ESHUTDOWN = 108


class Load:
    """Starts at once; `stop` ends it. One block is never in flight twice, so an acknowledgement says what it holds. At most `rate` requests a
    second: while the catalog is gone nothing can be packed, and a client at full speed fills a small device with log within seconds."""

    def __init__(self, path, export, blocks, depth=8, seed=1, reads=0.0, rate=1500, patience=60):
        self.path, self.export, self.blocks, self.depth, self.reads = path, export.encode(), blocks, depth, reads
        self.patience = patience  # seconds until an export must be there again
        self.random = random.Random(seed)
        self.pace, self.next_send = 1 / rate, time.monotonic()
        self.holds = {}         # block -> stamps that it may hold
        self.stamp = 0
        self.acknowledged = self.read = self.connects = 0
        self.errors = []        # NBD error numbers, and reads that gave what nobody wrote
        self.longest_gap = 0.0  # between two answers
        self.gap_at = None
        self.last_answer = time.monotonic()
        self.ending = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def connect(self, deadline):
        while time.monotonic() < deadline:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(60)
            try:
                connection.connect(self.path)
                attach(connection, self.export, structured=False)
                self.connects += 1
                return connection
            except OSError:
                connection.close()
            except EOFError:
                connection.close()
            time.sleep(0.02)
        raise TimeoutError("nobody serves " + self.path)

    def run(self):
        waiting = {}  # cookie -> (command, block, stamp)
        cookie = 0
        try:
            connection = self.connect(time.monotonic() + 30)
            is_new = False
            while not self.ending or waiting:
                try:
                    if is_new:
                        for number, (command, block, stamp) in waiting.items():  # again: whether they happened is not known
                            connection.sendall(self.encode(number, command, block, stamp))
                        is_new = False
                    while not self.ending and len(waiting) < self.depth:
                        cookie += 1
                        self.send(connection, cookie, waiting)
                    self.receive(connection, waiting)
                except (OSError, EOFError):
                    connection.close()
                    connection = self.connect(time.monotonic() + self.patience)
                    is_new = True  # and may break again at once: an owner that is being replaced lets a client in and out
            connection.close()
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(repr(error))

    def encode(self, cookie, command, block, stamp):
        return request(command, cookie, block * BLOCK, BLOCK) + (self.content(stamp) if command == WRITE else b"")

    @staticmethod
    def content(stamp):
        return struct.pack("<Q", stamp) * (BLOCK // 8) if stamp else bytes(BLOCK)

    def send(self, connection, cookie, waiting):
        now = time.monotonic()
        if now < self.next_send:
            time.sleep(self.next_send - now)
        self.next_send = max(now, self.next_send) + self.pace
        busy = {block for _, block, _ in waiting.values()}
        while (block := self.random.randrange(self.blocks)) in busy:
            pass
        if self.random.random() < self.reads:
            command, stamp = READ, 0
        else:
            self.stamp += 1
            command, stamp = WRITE, self.stamp
            self.holds.setdefault(block, {0}).add(stamp)
        waiting[cookie] = (command, block, stamp)
        connection.sendall(self.encode(cookie, command, block, stamp))

    def receive(self, connection, waiting):
        error, cookie = simple_reply(connection)
        if cookie not in waiting:
            raise ValueError(f"no reply to anything: {cookie}")
        command, block, stamp = waiting[cookie]
        data = receive(connection, BLOCK) if command == READ and not error else None
        if error == ESHUTDOWN:
            raise EOFError("it is served elsewhere now")  # whether the request happened is not known
        del waiting[cookie]
        now = time.monotonic()
        if now - self.last_answer > self.longest_gap:
            self.longest_gap, self.gap_at = now - self.last_answer, now
        self.last_answer = now
        if error:
            self.errors.append(error)
        elif command == WRITE:
            self.holds[block] = {stamp}
            self.acknowledged += 1
        else:
            self.read += 1
            self.judge(block, data)

    def judge(self, block, data):
        stamp = struct.unpack_from("<Q", data)[0]
        if data != self.content(stamp):
            self.errors.append(f"{WRONG}block {block} is torn")
        elif stamp not in self.holds.get(block, {0}):
            self.errors.append(f"{WRONG}block {block} holds {stamp}, written was {sorted(self.holds.get(block, {0}))}")

    def forget_gaps(self):
        """Gaps count from here on."""
        self.last_answer, self.longest_gap = time.monotonic(), 0.0

    def stop(self, limit=90):
        """Ends when what is in flight is answered."""
        self.ending = True
        self.thread.join(limit)
        if self.thread.is_alive():
            self.errors.append("requests are not answered")

    def verify(self, limit=60):
        """Reads every block that was written; what is wrong comes to `errors`. An owner may go while it reads: then from the next one."""
        left = sorted(self.holds)
        deadline = time.monotonic() + limit
        while left:
            connection = self.connect(deadline)
            try:
                while left:
                    self.verify_block(connection, left[-1])
                    left.pop()
            except (OSError, EOFError):
                pass
            connection.close()

    def verify_block(self, connection, block):
        connection.sendall(request(READ, block, block * BLOCK, BLOCK))
        error, _ = simple_reply(connection)
        if error == ESHUTDOWN:
            raise EOFError("it is served elsewhere now")
        if error:
            self.errors.append(f"block {block}: error {error}")
        else:
            self.judge(block, receive(connection, BLOCK))
