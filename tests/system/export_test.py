"""Where clients find a volume: the same socket whoever owns it, a port that is kept or moves, and what is said when an address cannot be had."""
import os
import socket
import subprocess
import sys
import time
import unittest

import meshes
from meshes import MIB, SystemTest, free_port, socket_of

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../nbd"))
from harness import READ, WRITE, attach, receive, request, simple_reply  # noqa: E402

ESHUTDOWN = 108


def port_of(uri):
    return int(uri.rpartition("/")[0].rpartition(":")[2])


class ExportTest(SystemTest):
    def served_by_another(self, lab, name, former):
        self.wait_until(lambda: lab.owner(name) not in (None, former) and lab.volume_status(name)["served"], f"another corelet serves {name}")

    def client(self, path, name="v"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(path)
        self.addCleanup(connection.close)
        return attach(connection, name.encode(), structured=False)

    def write(self, uri, pattern):
        self.tool("qemu-io", "-f", "raw", "-c", f"write -P {pattern} 0 64k", "-c", "flush", uri)

    def check(self, uri, pattern):
        said = self.tool("qemu-io", "-f", "raw", "-c", f"read -P {pattern} 0 64k", uri)
        self.assertNotIn("Pattern verification failed", said)


class UnixSockets(ExportTest):
    def test_the_next_owner_takes_the_path_over(self):
        lab = self.lab(3)
        uri = lab.volume("v", redundancy="rep:3")
        path = socket_of(uri)
        self.write(uri, 1)
        for pattern in (2, 3):
            owner, inode = lab.owner("v"), os.stat(path).st_ino
            lab.kill(owner)
            self.served_by_another(lab, "v", owner)
            self.assertNotEqual(os.stat(path).st_ino, inode)
            self.assertEqual(lab.volume_status("v")["uri"], uri)
            self.assertEqual(lab.attach("v"), uri)
            self.check(uri, pattern - 1)
            self.write(uri, pattern)
            lab.start(owner)
            self.wait_until(lambda: lab.status()["health"] == "ok", "whole again")
        # No temporary name is left, nor any socket but the corelets' own.
        self.assertEqual([name for name in os.listdir(lab.directory) if name.startswith(".s")], [])

    def test_a_fenced_owner_tells_its_clients_and_leaves_the_path_alone(self):
        lab = self.lab(3)
        uri = lab.volume("v", redundancy="rep:3")
        path = socket_of(uri)
        self.write(uri, 1)
        owner = lab.owner("v")
        idle, writer = self.client(path), self.client(path)
        lab.kill(owner, sig="STOP")
        writer.sendall(request(WRITE, 1, 0, 4096) + b"\x07" * 4096)  # to one that is no owner any more when it reads this
        self.served_by_another(lab, "v", owner)
        inode = os.stat(path).st_ino
        self.write(uri, 2)
        lab.kill(owner, sig="CONT")
        try:
            self.assertEqual(simple_reply(writer), (ESHUTDOWN, 1))
        except EOFError:
            pass  # it knew before it read the request
        for client in (idle, writer):
            self.assertEqual(client.recv(1), b"", "the fenced owner closes its clients")
        self.assertEqual(os.stat(path).st_ino, inode, "the path is the new owner's")
        self.check(uri, 2)

    def test_a_planned_move_keeps_the_path(self):
        lab = self.lab(3)
        uri = lab.volume("v", redundancy="rep:3", at=1)
        self.write(uri, 1)
        half = self.client(socket_of(uri))
        half.sendall(request(WRITE, 1, MIB, 32 * MIB) + b"x" * (3 * MIB // 2))  # a client that stops within a payload holds nobody up
        began = time.monotonic()
        self.assertEqual(lab.attach("v", at=2), uri)
        self.assertLess(time.monotonic() - began, 20)
        self.assertEqual(lab.owner("v"), 2)
        self.check(uri, 1)
        with self.assertRaises((EOFError, ConnectionError)):
            receive(half, 1)

    def test_the_path_that_was_asked_for(self):
        lab = self.lab(3)
        path = self.path("my socket & more")
        uri = lab.volume("v", redundancy="rep:3", nbd="unix:" + path)
        self.assertIn("my%20socket%20%26%20more", uri)
        self.write(uri, 1)
        owner = lab.owner("v")
        lab.kill(owner)
        self.served_by_another(lab, "v", owner)
        self.assertEqual(lab.attach("v"), uri)
        self.check(uri, 1)
        # A new address while clients are there: they stay, new ones come to the new place.
        client = self.client(path)
        other = lab.attach("v", nbd="unix:" + self.path("other"))
        self.assertFalse(os.path.exists(path))
        client.sendall(request(READ, 1, 0, 4096))
        self.assertEqual(simple_reply(client), (0, 1))
        receive(client, 4096)
        self.check(other, 1)
        lab.run("volume", "detach", "v")
        self.assertFalse(os.path.exists(self.path("other")))
        self.assertEqual(client.recv(1), b"")


class Ports(ExportTest):
    def test_a_port_is_kept_if_it_is_free_else_it_moves(self):
        lab = self.lab(3)
        port = free_port()
        uri = lab.volume("v", redundancy="rep:3", nbd=f"127.0.0.1:{port}")
        self.assertEqual(uri, f"nbd://127.0.0.1:{port}/v")
        self.write(uri, 1)
        owner = lab.owner("v")
        lab.kill(owner)
        self.served_by_another(lab, "v", owner)
        self.assertEqual(lab.attach("v"), uri)
        self.check(uri, 1)
        lab.start(owner)
        self.wait_until(lambda: lab.status()["health"] == "ok", "whole again")
        # Stopped, it keeps the port: the next owner cannot have it.
        owner = lab.owner("v")
        lab.kill(owner, sig="STOP")
        self.served_by_another(lab, "v", owner)
        moved = lab.volume_status("v")["uri"]
        self.assertNotEqual(port_of(moved), port)
        self.assertEqual(lab.attach("v"), moved)
        self.check(moved, 1)
        lab.kill(owner, sig="CONT")

    def test_any_free_port_is_kept_too(self):
        lab = self.lab(3)
        uri = lab.volume("v", redundancy="rep:3", nbd="127.0.0.1:0")
        self.assertNotEqual(port_of(uri), 0)
        owner = lab.owner("v")
        lab.kill(owner)
        self.served_by_another(lab, "v", owner)
        self.assertEqual(lab.attach("v"), uri)


class AddressesThatCannotBeHad(ExportTest):
    def test_each_is_told_and_another_works(self):
        lab = self.lab(1)
        lab.pool("p", "rep:1")
        for name in ("v", "w"):
            lab.run("volume", "create", name, "--size", "64M", "--pool", "p")
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        plain = self.path("file")
        with open(plain, "w", encoding="ascii") as file:
            file.write("precious")
        for address, code, words in ((f"127.0.0.1:{port}", "unavailable", f"uses tcp:127.0.0.1:{port}"),
                                     ("unix:" + self.path("no/such/directory/s"), "unavailable", "no/such/directory"),
                                     ("unix:" + plain, "unavailable", "is no socket"),
                                     ("192.0.2.1:10809", "denied", "encrypted"),
                                     ("unix:/" + "x" * 200, "invalid", "107"),
                                     ("nonsense", "invalid", "HOST:PORT"),
                                     ("127.0.0.1:99999", "invalid", "port")):
            began = time.monotonic()
            error = self.refused("volume", "attach", "v", "--nbd", address, mesh=lab)
            self.assertEqual(error.code, code, error.text)
            self.assertIn(words, error.message)
            self.assertLess(time.monotonic() - began, 9, "it is told at once")
        with open(plain, encoding="ascii") as file:
            self.assertEqual(file.read(), "precious")
        # Attached it is, so a further try only names another address; a free port is taken by itself.
        self.assertEqual(lab.status()["health"], "unavailable")
        uri = lab.attach("v", nbd="unix:" + self.path("good"))
        self.write(uri, 1)
        self.assertEqual(self.refused("volume", "attach", "w", "--nbd", "unix:" + self.path("good"), mesh=lab).code, "exists")
        # While it is served, a bad address leaves it where it is.
        self.assertEqual(self.refused("volume", "attach", "v", "--nbd", f"127.0.0.1:{port}", mesh=lab).code, "unavailable")
        self.check(uri, 1)
        self.assertEqual(lab.attach("v"), uri)
        self.assertEqual(lab.status()["health"], "ok")

    def test_a_port_that_becomes_free_is_taken(self):
        lab = self.lab(1)
        lab.pool("p", "rep:1")
        lab.run("volume", "create", "v", "--size", "64M", "--pool", "p")
        taken = socket.create_server(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        self.refused("volume", "attach", "v", "--nbd", f"127.0.0.1:{port}", mesh=lab)
        self.assertIn(str(port), lab.run("status"))
        taken.close()
        uri = self.wait_until(lambda: lab.volume_status("v")["uri"], "it is served once the port is free")
        self.assertEqual(port_of(uri), port)
        self.assertEqual(lab.attach("v"), uri)
        self.write(uri, 1)


class StockClients(ExportTest):
    """Against a volume, not a piece of memory."""

    def test_they_all_work(self):
        lab = self.lab(3, size="512M")
        uri = lab.volume("v", size="256M", redundancy="ec:2+1")
        info = self.tool("nbdinfo", "--json", uri)
        for word in ('"structured": true', '"base:allocation"', '"block_size_minimum": 512', '"block_size_preferred": 4096', '"can_multi_conn": true',
                     '"can_flush": true', '"can_fua": true', '"can_trim": true', '"can_zero": true'):
            self.assertIn(word, info)
        self.tool("qemu-io", "-f", "raw", "-c", "write -P 5 512 1536", "-c", "write -f -P 6 1M 1M", "-c", "write -z 4M 1M", "-c", "discard 1M 512k",
                  "-c", "flush", uri)
        said = self.tool("qemu-io", "-f", "raw", "-c", "read -P 5 512 1536", "-c", "read -P 0 0 512", "-c", "read -P 0 1M 512k", "-c", "read -P 6 1536k 512k", uri)
        self.assertNotIn("verification failed", said)
        data = [e for e in subprocess.run(["nbdinfo", "--map", uri], capture_output=True, text=True, check=True).stdout.splitlines() if " 0 " in e]
        self.assertTrue(data)
        source = self.pattern_file("source", 128 * MIB)
        self.tool("nbdcopy", "--connections=4", "--flush", source, uri)
        self.assert_holds(uri, source)
        self.tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", source, uri)
        self.tool("qemu-img", "compare", "-f", "raw", "-F", "raw", source, uri)
        self.tool("fio", "--name=t", "--ioengine=nbd", f"--uri={uri}", "--size=32m", "--rw=randwrite", "--bsrange=512-64k", "--blockalign=512",
                  "--bs_unaligned=0", "--iodepth=16", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", cwd=self.folder)


if __name__ == "__main__":
    meshes.main()
