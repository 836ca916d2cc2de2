"""Hostile and careless clients over real sockets: what the server's process holds stays within its bound, and it goes on."""
import signal
import socket
import struct
import unittest

from harness import (BLOCK_STATUS, CACHE, DISCONNECT, MIB, READ, WRITE, ServerTest, attach, option, receive, request, simple_reply)

BOUND_KIB = 64 * 1024


def push(connection, data):
    """Sends as much as the server takes without waiting for long."""
    connection.settimeout(0.02)
    left = memoryview(data)
    try:
        while left:
            left = left[connection.send(left):]
    except OSError:  # full, or the server has had enough
        pass
    connection.settimeout(30)


class Memory(ServerTest):
    """VmHWM of the process, from when the device's memory is touched and a first client was served."""

    def setUp(self):
        super().setUp()
        self.start("--stall-timeout-ms", 1000)

    def start(self, *arguments):
        self.one = self.server("--size", 64 * MIB, "--prefault", *arguments)
        with attach(self.one.connect()) as first:
            first.sendall(request(DISCONNECT, 0, 0, 0))
            self.assertEqual(first.recv(1), b"")
        self.one.reset_peak()
        self.before_kib = self.one.status_kib("VmRSS")
        self.connections = []

    def tearDown(self):
        peak = self.one.status_kib("VmHWM") - self.before_kib
        print(f"{self.id().split('.')[-1]}: {len(self.connections)} connections, peak {peak / 1024:.1f} MiB")
        self.assertLessEqual(peak, BOUND_KIB)
        for connection in self.connections:
            connection.close()
        # And it serves on.
        with attach(self.one.connect(), structured=False) as good:
            good.sendall(request(WRITE, 1, 0, 4096) + b"x" * 4096 + request(READ, 2, 0, 4096))
            self.assertEqual(simple_reply(good), (0, 1))
            self.assertEqual(simple_reply(good), (0, 2))
            self.assertEqual(receive(good, 4096), b"x" * 4096)
        super().tearDown()

    def attached(self, count, **wishes):
        for _ in range(count):
            connection = attach(self.one.connect(), **wishes)
            self.connections.append(connection)
            yield connection

    def test_idle_connections(self):
        list(self.attached(200))
        self.assertLess(self.one.status_kib("VmRSS") - self.before_kib, 200 * 32)

    def test_readers_that_take_nothing(self):
        for connection in self.attached(60):
            push(connection, b"".join(request(READ, i, 0, MIB) for i in range(500)))

    def test_small_readers_that_take_nothing(self):
        for connection in self.attached(100):
            push(connection, b"".join(request(READ, i, i * 512, 512) for i in range(3000)))

    def test_long_reads_in_one_piece(self):
        for connection in self.attached(50, structured=False):
            push(connection, b"".join(request(READ, i, 0, 32 * MIB) for i in range(5)))

    def test_long_reads_that_may_come_in_pieces(self):
        for connection in self.attached(50):
            push(connection, b"".join(request(READ, i, 0, 32 * MIB) for i in range(5)))

    def test_writers_that_stop_within_a_payload(self):
        for connection in self.attached(80):
            push(connection, request(WRITE, 1, 0, 32 * MIB) + b"x" * (3 * MIB // 2))

    def test_writers_to_a_device_that_does_not_answer(self):
        self.one.signal(signal.SIGUSR1)
        for connection in self.attached(60):
            push(connection, b"".join(request(WRITE, i, 0, 65536) + b"x" * 65536 for i in range(40)))
        for connection in self.connections[:5]:
            push(connection, (request(WRITE, 1, 0, 4096) + b"x" * 4096) * 2000)
        self.one.signal(signal.SIGUSR1)

    def test_descriptions_and_caching(self):
        for connection in self.attached(60):
            push(connection, b"".join(request(BLOCK_STATUS, i, 0, 64 * MIB) + request(CACHE, i, 0, 64 * MIB) for i in range(50)))

    def test_refusals_that_nobody_takes(self):
        for connection in self.attached(100):
            push(connection, request(READ, 1, 1, 1) * 10000)

    def test_handshakes_that_do_not_end(self):
        for _ in range(255):
            connection = self.one.connect()
            push(connection, struct.pack(">I", 3) + option(99, b"x" * 16384) * 20 + option(6, b"x" * 16384)[:-1])
            self.connections.append(connection)
        for connection in self.connections:
            connection.close()

    def test_all_at_once(self):
        for i, connection in enumerate(self.attached(100, structured=False)):
            kinds = (request(READ, 1, 0, 32 * MIB) * 3, request(WRITE, 1, 0, 32 * MIB) + b"x" * (2 * MIB), request(READ, 1, 0, 4096) * 3000,
                     (request(WRITE, 1, 0, 4096) + b"x" * 4096) * 300, request(READ, 1, 0, MIB) * 100)
            push(connection, kinds[i % len(kinds)])


class Bounds(ServerTest):
    def test_one_connection_too_many(self):
        server = self.server("--connections-max", 3)
        held = [attach(server.connect()) for _ in range(3)]
        with self.assertRaises((EOFError, ConnectionError)):
            fourth = attach(server.connect())
            fourth.sendall(request(READ, 1, 0, 512))
            receive(fourth, 1)
        held.pop().close()
        for _ in range(100):  # until the server has seen the end
            try:
                with attach(server.connect()) as another:
                    another.sendall(request(READ, 1, 0, 512))
                    receive(another, 1)
                break
            except (EOFError, OSError):
                continue
        else:
            self.fail("no room after one had left")

    def test_sleepers_do_not_starve_others(self):
        server = self.server("--stall-timeout-ms", 300)
        sleepers = [attach(server.connect()) for _ in range(40)]
        for sleeper in sleepers:
            push(sleeper, request(READ, 1, 0, MIB) * 50)
        with attach(server.connect(), structured=False) as good:
            good.sendall(request(READ, 7, 0, MIB))
            self.assertEqual(simple_reply(good), (0, 7))
            self.assertEqual(len(receive(good, MIB)), MIB)


class Garbage(ServerTest):
    def test_wrong_bytes_close_only_their_connection(self):
        server = self.server(listen=["unix:" + self.path("s"), "tcp:127.0.0.1:0"])
        for which in (0, 1):
            good = attach(server.connect(which))
            for data in (b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100, struct.pack(">I", 0xFFFFFFFF), struct.pack(">I", 3) + b"y" * 64,
                         struct.pack(">I", 3) + struct.pack(">QII", 0x49484156454F5054, 7, 0xFFFFFFFF), b"\0" * 4096):
                with server.connect(which) as bad:
                    receive(bad, 18)
                    bad.sendall(data)
                    try:
                        while bad.recv(4096):
                            pass
                    except ConnectionResetError:
                        pass
            with attach(server.connect(which)) as bad:
                bad.sendall(b"\x25\x60\x95\x14" + b"\0" * 24)
                self.assertEqual(bad.recv(1), b"")
            with attach(server.connect(which)) as bad:
                bad.sendall(request(WRITE, 1, 0, 0xFFFFFFFF))
                self.assertEqual(bad.recv(1), b"")
            good.sendall(request(READ, 1, 0, 512))
            self.assertEqual(len(receive(good, 28 + 512)), 540)
            good.close()

    def test_half_closed_client_gets_its_answers(self):
        server = self.server(listen=["unix:" + self.path("s"), "tcp:127.0.0.1:0"])
        for which in (0, 1):
            with attach(server.connect(which), structured=False) as client:
                client.sendall(request(READ, 1, 0, 4096) * 10)
                client.shutdown(socket.SHUT_WR)
                for _ in range(10):
                    self.assertEqual(simple_reply(client), (0, 1))
                    receive(client, 4096)
                self.assertEqual(client.recv(1), b"")


if __name__ == "__main__":
    unittest.main()
