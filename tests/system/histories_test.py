"""Histories of real clients on few blocks while owners are killed, stopped and cut off, judged by the checker of simulated runs: each
answer must fit one order of all that was done. CORELET_SOAK_SECONDS and CORELET_SEED as for the kill loop."""
import os
import random
import time
import unittest

import history
import meshes
from history import History
from meshes import SystemTest, socket_of
from stalls import WRONG

SECONDS = float(os.environ.get("CORELET_SOAK_SECONDS", 0))
MAY = meshes.may_make_networks()
SEED = int(os.environ.get("CORELET_SEED", 1))


class Histories(SystemTest):
    def go_on(self, record, count=300):
        reached = record.answered + count
        self.wait_until(lambda: record.answered >= reached or record.errors, f"{count} more operations are answered", 180)
        self.assertEqual(record.errors, [])

    def whole(self, lab):
        self.wait_until(lambda: lab.status()["health"] == "ok", "whole again", 180)

    def kill(self, lab, record, who):
        lab.kill(who)
        self.go_on(record)
        lab.start(who)

    def stop(self, lab, record, who):
        """Long enough that another takes the volume, while some clients wait for the one that is stopped."""
        lab.kill(who, sig="STOP")
        self.go_on(record)
        lab.kill(who, sig="CONT")
        self.go_on(record)

    def pause(self, lab, record, who):
        """Shorter than a session: it may still be the owner, its read lease is over."""
        lab.kill(who, sig="STOP")
        time.sleep(2.5)
        lab.kill(who, sig="CONT")
        self.go_on(record)

    def move(self, lab, record, who):
        lab.attach("v", at=str(who % 4 + 1))
        self.go_on(record)

    def cut_off(self, lab, record, who):
        lab.run("lab", "partition", str(who))
        self.go_on(record)
        lab.run("lab", "mend")

    def run_rounds(self, lab, kinds, redundancy):
        draw = random.Random(SEED)
        uri = lab.volume("v", "16M", redundancy=redundancy, at="1")
        record = History(socket_of(uri), "v", seed=SEED)
        self.addCleanup(record.stop)
        self.go_on(record)
        until = time.monotonic() + SECONDS
        left = list(kinds)
        done = {}
        while left or time.monotonic() < until:
            kind = left.pop(0) if left else draw.choice(kinds)
            # Mostly the owner: of the others a client notices little.
            who = self.wait_until(lambda: lab.owner("v"), "somebody owns it", 180) if draw.random() < 0.8 else draw.randint(1, 4)
            kind(lab, record, who)
            self.whole(lab)
            self.go_on(record, 100)
            done[kind.__name__] = done.get(kind.__name__, 0) + 1
        record.stop()
        self.assertEqual(record.errors, [])
        self.judge(record, done)

    def judge(self, record, done):
        record.save(self.path("history"))
        code, said = history.check(self.path("history"))
        if code != 0:
            kept = f"/tmp/corelet-history-{os.getpid()}"
            record.save(kept)
            self.fail(f"{WRONG}{said[:4000]}\nthe history is kept in {kept}")
        print(f"{self.id()}: {done}, seed {SEED}: {said.strip()}", flush=True)
        # The same history with one stale read in it is refused: the checker does look.
        planted = history.plant_stale_read(record.lines())
        self.assertIsNotNone(planted, "no place for a stale read: there were too few operations")
        with open(self.path("planted"), "w", encoding="ascii") as file:
            file.write("\n".join(planted) + "\n")
        code, said = history.check(self.path("planted"))
        self.assertEqual(code, 1, f"a stale read was not found: {said}")

    def test_killed_stopped_and_moved(self):
        lab = self.lab(4, size="1G")
        self.run_rounds(lab, [self.kill, self.pause, self.stop, self.move], "rep:3")

    @unittest.skipUnless(MAY, "network namespaces take root and iproute2")
    def test_cut_off_killed_and_stopped(self):
        lab = self.lab(4, size="1G", net="tcp")
        self.run_rounds(lab, [self.cut_off, self.stop, self.kill, self.cut_off], "ec:2+1")


if __name__ == "__main__":
    meshes.main()
