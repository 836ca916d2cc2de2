"""Runs nbd_memory_server for a test, and speaks NBD to it by hand."""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import unittest

SERVER = os.environ.get("NBD_MEMORY_SERVER", "")
MIB = 1 << 20

READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
GO, STRUCTURED_REPLY = 7, 8
OPTION_MAGIC = 0x49484156454F5054


class Server:
    def __init__(self, folder, *arguments, listen=None):
        self.listen = listen or ["unix:" + os.path.join(folder, "nbd.sock")]
        command = [SERVER, "--quiet"]
        for address in self.listen:
            command += ["--listen", address]
        self.process = subprocess.Popen([*command, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addresses = [self.process.stdout.readline().split()[-1] for _ in self.listen]

    def uri(self, which=0, name="memory"):
        kind, _, rest = self.addresses[which].partition(":")
        return f"nbd+unix:///{name}?socket={rest}" if kind == "unix" else f"nbd://{rest}/{name}"

    def connect(self, which=0):
        kind, _, rest = self.addresses[which].partition(":")
        if kind == "unix":
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(rest)
        else:
            host, port = rest.rsplit(":", 1)
            connection = socket.create_connection((host, int(port)))
        connection.settimeout(30)
        return connection

    def status_kib(self, field):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise KeyError(field)

    def reset_peak(self):
        """VmHWM counts from here on."""
        with open(f"/proc/{self.process.pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")

    def signal(self, which):
        self.process.send_signal(which)

    def stop(self):
        """Ends it in order; what it counted."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        if self.process.returncode != 0:
            raise AssertionError(f"the server ended with {self.process.returncode}: {err}")
        return json.loads(out.strip().splitlines()[-1])


class ServerTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="corelet-nbd-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.servers = []

    def tearDown(self):
        for server in self.servers:
            if server.process.poll() is None:
                server.process.kill()
            server.process.communicate()

    def server(self, *arguments, listen=None):
        server = Server(self.folder, *arguments, listen=listen)
        self.servers.append(server)
        return server

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_tool(self, *command, ok=True, timeout=120):
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, cwd=self.folder)
        self.assertEqual(done.returncode == 0, ok, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr


def receive(connection, count):
    out = bytearray()
    while len(out) < count:
        part = connection.recv(min(count - len(out), MIB))
        if not part:
            raise EOFError
        out += part
    return bytes(out)


def option(number, data=b""):
    return struct.pack(">QII", OPTION_MAGIC, number, len(data)) + data


def attach(connection, name=b"memory", structured=True):
    receive(connection, 18)
    message = struct.pack(">I", 3)
    if structured:
        message += option(STRUCTURED_REPLY)
    connection.sendall(message + option(GO, struct.pack(">I", len(name)) + name + b"\0\0"))
    while True:
        _, number, kind, size = struct.unpack(">QIII", receive(connection, 20))
        receive(connection, size)
        if number == GO and kind == 1:
            return connection
        if kind & 0x80000000:
            raise ConnectionRefusedError(f"option {number}: {kind:#x}")


def request(command, cookie, offset, length, flags=0):
    return struct.pack(">IHHQQI", 0x25609513, flags, command, cookie, offset, length)


def simple_reply(connection):
    """(error, cookie)"""
    magic, error, cookie = struct.unpack(">IIQ", receive(connection, 16))
    assert magic == 0x67446698, hex(magic)
    return error, cookie
