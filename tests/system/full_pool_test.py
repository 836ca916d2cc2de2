"""A pool that is full: writes are refused, everything else goes on, and what is deleted makes room again."""
import subprocess
import unittest

import meshes
from meshes import SystemTest

PIECE = 8  # MiB


class FullPool(SystemTest):
    def writes(self, lab, name, offset, pattern, size=PIECE):
        """Whether a write of that many MiB finds room. Its owner may change meanwhile, for reasons of its own: then it is asked of the next one."""
        while True:
            before = lab.volume_status(name)
            done = subprocess.run(["qemu-io", "-f", "raw", "-c", f"write -P {pattern} {offset}M {size}M", "-c", "flush", before["uri"]],
                                  capture_output=True, text=True, timeout=60, check=False)
            said = done.stdout + done.stderr
            if done.returncode == 0 or "No space left on device" in said:
                return done.returncode == 0
            self.wait_until(lambda: lab.volume_status(name)["epoch"] != before["epoch"], "another owner, or else this has no reason: " + said, limit=30)
            self.wait_until(lambda: lab.volume_status(name)["served"], "the next owner serves it")

    def check(self, uri, pieces):
        said = self.tool("qemu-io", "-f", "raw", "-c", "length", *[word for i in pieces for word in ("-c", f"read -P {i + 1} {i * PIECE}M {PIECE}M")], uri)
        self.assertNotIn("verification failed", said)

    def fill(self, lab, name):
        """How many pieces there was room for, until twice in a row there was none."""
        for i in range(100):
            if not self.writes(lab, name, i * PIECE, i + 1) and not self.writes(lab, name, i * PIECE, i + 1):
                return i
        self.fail("the pool does not get full")

    def test_enospc_and_back(self):
        lab = self.lab(3, size="160M")
        uri = lab.volume("v", size="1G", redundancy="rep:3")
        full = self.fill(lab, "v")
        self.assertGreater(full, 3)
        # Reads go on, and so does all that changes no data.
        self.check(uri, range(full))
        status = lab.status()
        self.assertTrue(status["volumes"][0]["served"])
        self.assertNotEqual(status["health"], "unavailable")
        self.tool("nbdinfo", "--map", uri)
        # Trims go on, and make room.
        self.tool("qemu-io", "-f", "raw", "-c", f"discard 0 {(full - 1) * PIECE}M", "-c", "flush", uri)
        self.check(uri, [full - 1])
        self.wait_until(lambda: self.writes(lab, "v", 0, 1), "there is room again after the trim")
        self.check(uri, [0, full - 1])
        # Full to the brim again, then killed: nothing that was acknowledged is lost. How much there is room for this time depends on how
        # much has been packed and buried meanwhile, so it may be more than at first.
        again = self.fill(lab, "v")
        self.check(uri, range(again))
        lab.kill(lab.owner("v"))
        self.wait_until(lambda: lab.volume_status("v")["served"], "the next owner serves the full pool")
        self.check(lab.volume_status("v")["uri"], {*range(again), full - 1})

    def test_a_removed_volume_makes_room(self):
        lab = self.lab(3, size="160M")
        uri = lab.volume("v", size="1G", redundancy="rep:3")
        self.fill(lab, "v")
        lab.run("volume", "create", "w", "--size", "64M", "--pool", "p")
        lab.run("volume", "detach", "v")
        lab.run("volume", "rm", "v")
        other = lab.attach("w")
        self.wait_until(lambda: self.writes(lab, "w", 0, 1) and self.writes(lab, "w", 8, 2), "what the removed volume held is free")
        self.check(other, [0, 1])


if __name__ == "__main__":
    meshes.main()
