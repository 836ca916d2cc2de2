"""What a person or a client gets wrong, and machines that are full or gone: each has a clear error, and nothing is lost."""
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
import unittest

import meshes
from meshes import CORELET, MIB, SystemTest, run_corelet, socket_of

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../nbd"))
from harness import READ, WRITE, attach, receive, request, simple_reply  # noqa: E402


class Devices(SystemTest):
    def init(self, name, device, *options):
        return run_corelet("--json", "init", "--dir", self.path(name), "--device", device, *options)

    def refused_to_serve(self, name):
        """`serve` ends by itself with an error; what it said."""
        done = subprocess.run([CORELET, "serve", "--dir", self.path(name)], capture_output=True, text=True, timeout=30, check=False)
        self.assertNotEqual(done.returncode, 0, done.stderr)
        return done.stderr

    def test_too_small(self):
        for size in ("4K", "1M", "8M"):
            error = self.refused("init", "--dir", self.path("small"), "--device", f"{self.path('device')}:{size}")
            self.assertEqual(error.code, "no space")
            self.assertIn("at least", error.message)
            self.assertFalse(os.path.exists(self.path("device")), "what was begun is removed")

    def test_not_there(self):
        error = self.refused("init", "--dir", self.path("c"), "--device", self.path("device"))
        self.assertEqual(error.code, "not found")
        self.assertIn(":4G", error.message)
        self.assertEqual(self.refused("init", "--dir", self.path("c"), "--device", self.folder).code, "invalid")
        self.assertEqual(self.refused("init", "--dir", self.path("c"), "--device", f"{self.path('device')}:lots").code, "invalid")
        self.assertEqual(self.refused("serve", "--dir", self.path("nothing")).code, "not found")

    def test_formatted_already(self):
        self.init("c", f"{self.path('device')}:64M")
        error = self.refused("init", "--dir", self.path("d"), "--device", self.path("device"))
        self.assertEqual(error.code, "exists")
        self.assertIn("--force", error.message)
        self.assertEqual(self.refused("init", "--dir", self.path("c"), "--device", f"{self.path('other')}:64M").code, "exists")

    def test_of_another_mesh(self):
        for name in ("c", "d"):
            self.init(name, f"{self.path(name + '.device')}:64M")
        os.rename(self.path("c.device"), self.path("device"))
        os.rename(self.path("d.device"), self.path("c.device"))
        said = self.refused_to_serve("c")
        self.assertIn("belongs to mesh", said)
        # Back in its place it serves.
        os.rename(self.path("c.device"), self.path("d.device"))
        os.rename(self.path("device"), self.path("c.device"))
        self.serve("c")

    def test_truncated(self):
        device = self.path("device")
        self.init("c", f"{device}:64M")
        shutil.copy(device, self.path("whole"))
        for size in (40 * MIB, 4096, 0):
            os.truncate(device, size)
            said = self.refused_to_serve("c")
            self.assertIn("truncated" if size > 4096 else "too short", said)
            shutil.copy(self.path("whole"), device)
        self.serve("c")

    def test_in_use(self):
        self.init("c", f"{self.path('device')}:64M")
        self.serve("c")
        self.assertIn("in use", self.refused_to_serve("c"))
        self.assertEqual(self.refused("init", "--dir", self.path("d"), "--device", self.path("device"), "--force").code, "conflict")

    def test_in_use_for_a_moment(self):
        """As by a corelet that was killed and whose last requests have not ended yet: the kernel holds its lock until then."""
        self.init("c", f"{self.path('device')}:64M")
        with open(self.path("device"), "rb") as held, open(self.path("said"), "w+", encoding="utf-8") as said:
            fcntl.flock(held, fcntl.LOCK_EX)
            process = subprocess.Popen([CORELET, "serve", "--dir", self.path("c")], stderr=said)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            self.wait_until(lambda: "in use" in self.text("said"), "it says that it waits", 30)
            fcntl.flock(held, fcntl.LOCK_UN)
            mesh = self.mesh(self.path("c"))
            self.wait_until(lambda: mesh.status()["health"] == "ok", "it serves")

    def text(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def test_a_directory_too_deep_for_a_socket(self):
        deep = "x" * 120
        error = self.refused("init", "--dir", self.path(deep), "--device", f"{self.path('device')}:64M")
        self.assertEqual(error.code, "invalid")
        self.assertIn("107", error.message)
        self.assertFalse(os.path.exists(self.path("device")))
        self.assertIn("107", self.refused("lab", "up", "--corelets", "1", "--size", "64M", "--dir", self.path(deep)).message)

    def serve(self, name):
        process = subprocess.Popen([CORELET, "serve", "--dir", self.path(name)], stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        mesh = self.mesh(self.path(name))
        self.wait_until(lambda: mesh.status()["health"] == "ok", "it serves")
        return process


@unittest.skipUnless(os.geteuid() == 0, "mounting a file system needs root")
class FullHostDisk(SystemTest):
    def disk(self, size):
        where = self.path("disk")
        os.mkdir(where)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", where], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", where], check=False)
        return where

    def test_no_room_for_the_device(self):
        where = self.disk("64M")
        error = self.refused("init", "--dir", where + "/c", "--device", where + "/device:1G")
        self.assertEqual(error.code, "no space")
        self.assertIn("choose a smaller size or another disk", error.message)
        self.assertFalse(os.path.exists(where + "/device"))
        error = self.refused("lab", "up", "--corelets", "3", "--size", "64M", "--dir", where + "/lab")
        self.assertEqual(error.code, "no space")
        self.assertFalse(os.path.exists(where + "/lab/c1/device"), "a lab that is half made is none")

    def test_full_while_it_serves_and_when_it_starts(self):
        where = self.disk("200M")
        lab = meshes.Lab(where + "/lab")
        self.meshes.append(lab)
        lab.up(1, size="160M")
        self.addCleanup(lambda: lab.run("lab", "down"))
        uri = lab.volume("v", size="64M", redundancy="rep:1")
        self.tool("qemu-io", "-f", "raw", "-c", "write -P 1 0 8M", "-c", "flush", uri)
        with open(where + "/filler", "wb") as filler:
            try:
                while True:
                    filler.write(bytes(65536))
                    filler.flush()
            except OSError:
                pass
        # Its space was taken when it was formatted: it goes on.
        self.tool("qemu-io", "-f", "raw", "-c", "write -P 2 8M 8M", "-c", "flush", uri)
        lab.kill(1)
        lab.start(1)
        self.wait_until(lambda: lab.volume_status("v")["served"], "it serves again, on a full disk")
        said = self.tool("qemu-io", "-f", "raw", "-c", "read -P 1 0 8M", "-c", "read -P 2 8M 8M", "-c", "write -P 3 16M 1M", uri)
        self.assertNotIn("verification failed", said)


class Names(SystemTest):
    def test_what_does_not_exist_or_exists_already(self):
        lab = self.lab(3)
        made = lab.pool("p", "rep:3")
        self.assertEqual((made["promise"], made["can_lose"]), (2, 1), "three voters survive one loss, whatever a pool promises")
        lab.run("volume", "create", "v", "--size", "64M", "--pool", "p")
        cases = (
            (("volume", "create", "w", "--size", "64M", "--pool", "nowhere"), "not found", "corelet pool create nowhere"),
            (("volume", "create", "v", "--size", "64M", "--pool", "p"), "exists", "'v'"),
            (("pool", "create", "p", "--redundancy", "rep:2"), "exists", "'p'"),
            (("pool", "create", "q", "--redundancy", "rep:0"), "invalid", "ec:4+2"),
            (("pool", "create", "q", "--redundancy", "raid5"), "invalid", "rep:N"),
            (("pool", "create", "q", "--redundancy", "rep:2", "--failure-domain", "planet"), "invalid", "zone"),
            (("pool", "create", "q", "--redundancy", "rep:2", "--min-copies", "3"), "invalid", "has 2 copies"),
            (("pool", "create", "q", "--redundancy", "rep:2", "--min-copies", "257"), "invalid", "has 2 copies"),
            (("pool", "create", "a/b", "--redundancy", "rep:2"), "invalid", "name"),
            (("volume", "create", "../v", "--size", "64M", "--pool", "p"), "invalid", "A-Z"),
            (("volume", "create", "x" * 65, "--size", "64M", "--pool", "p"), "invalid", "64 characters"),
            (("volume", "create", "w", "--size", "0", "--pool", "p"), "invalid", "size"),
            (("volume", "create", "w", "--size", "1000", "--pool", "p"), "invalid", "4096"),
            (("volume", "create", "w", "--size", "65T", "--pool", "p"), "invalid", "64 TiB"),
            (("volume", "create", "w", "--size", "many", "--pool", "p"), "invalid", "many"),
            (("volume", "attach", "w"), "not found", "corelet volume ls"),
            (("volume", "attach", "v", "--at", "9"), "not found", "9"),
            (("volume", "info", "w"), "not found", "corelet volume ls"),
            (("volume", "detach", "w"), "not found", "corelet volume ls"),
            (("volume", "rm", "w"), "not found", "corelet volume ls"),
            (("pool", "rm", "q"), "not found", "corelet pool ls"),
            (("pool", "rm", "p"), "conflict", "corelet volume rm v"),
        )
        for arguments, code, words in cases:
            error = self.refused(*arguments, mesh=lab)
            self.assertEqual(error.code, code, f"{arguments}: {error.text}")
            self.assertIn(words, error.message, arguments)
        lab.attach("v")
        self.assertEqual(self.refused("volume", "rm", "v", mesh=lab).code, "conflict")
        self.assertEqual([v["name"] for v in lab.status()["volumes"]], ["v"])

    def test_a_pool_wider_than_the_mesh(self):
        """A mesh of one, of two, of three says what it cannot do, and what would do."""
        lab = self.lab(3)
        for redundancy, width in (("rep:4", 4), ("ec:4+2", 6), ("ec:16+8", 24)):
            error = self.refused("pool", "create", "p", "--redundancy", redundancy, mesh=lab)
            self.assertEqual(error.code, "invalid")
            for words in (f"needs {width} corelets", "has 3", "Use rep:3 or ec:2+1", f"add {width - 3} more"):
                self.assertIn(words, error.message)
        self.assertEqual(lab.status()["pools"], [])


class NoQuorum(SystemTest):
    def test_commands_end_and_status_works(self):
        lab = self.lab(3)
        uri = lab.volume("v", redundancy="rep:3", at=1)
        self.tool("qemu-io", "-f", "raw", "-c", "write -P 1 0 1M", "-c", "flush", uri)
        lab.kill(2, 3)
        for arguments in (("pool", "create", "q", "--redundancy", "rep:1"), ("volume", "create", "w", "--size", "64M", "--pool", "p"),
                          ("volume", "detach", "v"), ("volume", "attach", "v", "--at", "1", "--nbd", "127.0.0.1:0")):
            began = time.monotonic()
            error = self.refused(*arguments, mesh=lab)
            self.assertLess(time.monotonic() - began, 11, arguments)
            self.assertIn("quorum", error.message, arguments)
            self.assertIn("corelet status", error.message, arguments)
        self.assertIn("quorum", lab.run("status"))
        self.assertFalse(lab.status()["catalog"]["available"])
        lab.start(2, 3)
        self.wait_until(lambda: lab.status()["health"] == "ok", "whole again")
        self.assertEqual(lab.attach("v"), lab.volume_status("v")["uri"])
        said = self.tool("qemu-io", "-f", "raw", "-c", "read -P 1 0 1M", lab.volume_status("v")["uri"])
        self.assertNotIn("verification failed", said)


class BelowMinCopies(SystemTest):
    def test_requests_wait_and_go_on(self):
        lab = self.lab(3)
        uri = lab.volume("v", redundancy="rep:3", at=1)
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(90)
        client.connect(socket_of(uri))
        attach(client, b"v", structured=False)
        self.addCleanup(client.close)
        client.sendall(request(WRITE, 1, 0, 4096) + b"a" * 4096)
        self.assertEqual(simple_reply(client), (0, 1))
        lab.kill(2, 3)
        client.sendall(request(WRITE, 2, 4096, 4096) + b"b" * 4096)
        said = self.wait_until(lambda: (text := lab.run("status")) and "waits for" in text and text, "status says what is missing")
        self.assertIn("unavailable", said)
        self.assertIn("volume v", said)
        client.setblocking(False)
        with self.assertRaises(BlockingIOError, msg="the request waits: no error, no answer"):
            client.recv(1)
        client.settimeout(90)
        lab.start(2)
        self.assertEqual(simple_reply(client), (0, 2))
        client.sendall(request(READ, 3, 0, 8192))
        self.assertEqual(simple_reply(client), (0, 3))
        self.assertEqual(receive(client, 8192), b"a" * 4096 + b"b" * 4096)
        lab.start(3)
        self.wait_until(lambda: lab.status()["health"] == "ok", "whole again")


if __name__ == "__main__":
    meshes.main()
