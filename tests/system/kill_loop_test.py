"""kill -9, again and again, of drawn corelets at drawn moments: the owner, others, one while another is still coming back, all at once.
After each round the mesh is whole again and what the clients were promised is there. CORELET_SOAK_SECONDS runs it longer, CORELET_SEED
draws otherwise."""
import os
import random
import signal
import time

import meshes
from load import Load
from meshes import SystemTest, socket_of

SECONDS = float(os.environ.get("CORELET_SOAK_SECONDS", 0))
SEED = int(os.environ.get("CORELET_SEED", 1))
VOLUMES = {"r": ("rep:3", 2048), "e": ("ec:2+1", 2048)}
KINDS = ["owner", "others", "two in a row", "again while it comes back", "all"]


class KillLoop(SystemTest):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        self.kills = 0

    def kill9(self, lab, numbers):
        """By the kernel alone, all of them within a millisecond: no command in between."""
        pids = [pid for pid in map(lab.pid, numbers) if pid]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.kills += len(pids)
        self.wait_until(lambda: not set(pids) & set(lab.pids()), "what was killed is gone")

    def acknowledged(self, loads, count):
        """So many more writes of each client."""
        wanted = {name: load.acknowledged + count for name, load in loads.items()}
        self.wait_until(lambda: all(load.acknowledged >= wanted[name] or load.errors for name, load in loads.items()),
                        f"{count} more writes of each client are acknowledged", 180)
        self.check(loads)

    def check(self, loads):
        for name, load in loads.items():
            self.assertEqual(load.errors, [], f"volume {name}, seed {SEED}, after {self.kills} kills")

    def round(self, lab, loads, kind):
        """The corelets that were killed and do not run."""
        everyone = [1, 2, 3, 4]
        owner = lab.owner(self.random.choice(list(loads))) or self.random.choice(everyone)
        other = self.random.choice([n for n in everyone if n != owner])
        if kind == "owner":
            self.kill9(lab, [owner])
            return [owner]
        if kind == "others":
            self.kill9(lab, [other])
            return [other]
        if kind == "two in a row":  # more than the pools survive at once, and all that they hold comes back
            self.kill9(lab, [owner])
            self.acknowledged_or_not(loads)
            self.kill9(lab, [other])
            return [owner, other]
        if kind == "again while it comes back":
            self.kill9(lab, [other])
            lab.start(other)
            self.kill9(lab, [other])
            return [other]
        self.kill9(lab, everyone)
        return everyone

    def acknowledged_or_not(self, loads):
        """A drawn number of answers, or none where the mesh has none to give just now."""
        load = loads[self.random.choice(list(loads))]
        reached, deadline = load.acknowledged + self.random.randrange(1, 200), time.monotonic() + 3
        while load.acknowledged < reached and time.monotonic() < deadline:
            time.sleep(0.002)

    def test_killed_again_and_again(self):
        lab = self.lab(4, size="1G")
        loads = {}
        for number, (name, (redundancy, blocks)) in enumerate(VOLUMES.items()):
            uri = lab.volume(name, "16M", pool="p" + name, redundancy=redundancy, at=str(number + 1))
            loads[name] = Load(socket_of(uri), name, blocks, depth=6, seed=SEED * 10 + number, reads=0.2, patience=180)
            self.addCleanup(loads[name].stop)
        self.acknowledged(loads, 100)
        kinds = KINDS + [self.random.choice(KINDS) for _ in range(2)]
        self.random.shuffle(kinds)
        until = time.monotonic() + SECONDS
        rounds = 0
        while kinds or time.monotonic() < until:
            kind = kinds.pop() if kinds else self.random.choice(KINDS)
            self.acknowledged_or_not(loads)  # a drawn moment
            dead = self.round(lab, loads, kind)
            if len(dead) == 1 and self.random.random() < 0.5:
                self.acknowledged(loads, 20)  # one loss: the others go on
            lab.start(*dead)
            self.acknowledged(loads, 50)
            self.wait_until(lambda: lab.status()["health"] == "ok", f"whole again after '{kind}'", 180)
            rounds += 1
        for load in loads.values():
            load.stop(180)
            load.verify()
        self.check(loads)
        # And once more through nothing but what is on the disks.
        self.kill9(lab, [1, 2, 3, 4])
        lab.start(1, 2, 3, 4)
        for load in loads.values():
            load.verify(180)
        self.check(loads)
        print(f"{self.id()}: {rounds} rounds, {self.kills} kills, {sum(load.acknowledged for load in loads.values())} acknowledged writes, seed {SEED}")


if __name__ == "__main__":
    meshes.main()
