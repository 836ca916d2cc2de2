#!/usr/bin/env python3
"""A soak of real processes: for N minutes corelets are killed, stopped, cut off, their disks fail, fill up, hang and change bits, in drawn
order, while clients verify what they were promised: stock ones (nbdcopy in, out and compared; fio --verify), clients that remember each
block, and clients whose history is judged for linearizability. Prints a JSON summary of what was injected and what was verified; exit
code 0 only if nothing was lost, wrong or stuck.

    soak.py [--minutes N] [--seed S] [--net unix|tcp] [--json FILE]

A fault that costs a device, or that the pools survive once only, waits until the mesh is whole: the promise is what is tested, not luck."""
import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
import unittest

import history
import meshes
from history import History
from load import Load
from meshes import MIB, SystemTest, socket_of

CORELETS = 5
PATIENCE = 600


class StockClient(threading.Thread):
    """Runs a tool again and again. It ends with an error whenever the owner goes: that is an interruption. What it finds wrong is a failure."""

    def __init__(self, uri, folder, seed):
        super().__init__(daemon=True)
        self.uri, self.folder, self.random = uri, folder, random.Random(seed)
        self.verified = self.interrupted = self.verified_bytes = 0
        self.errors = []
        self.ending = threading.Event()
        self.start()

    def run(self):
        while not self.ending.is_set() and not self.errors:
            try:
                self.round()
            except Exception as error:  # pylint: disable=broad-except
                self.errors.append(repr(error))

    def until_done(self, attempt):
        """False when it is time to end."""
        while not attempt():
            self.interrupted += 1
            if self.ending.wait(0.2):
                return False
        return True

    def stop(self):
        self.ending.set()
        self.join(PATIENCE)
        if self.is_alive():
            self.errors.append("a stock client does not end")

    def summary(self):
        return {"verified": self.verified, "verified_bytes": self.verified_bytes, "interrupted": self.interrupted}


class NbdCopy(StockClient):
    """A file goes in, and comes out the same until the next one goes in."""
    SIZE = 24 * MIB

    def round(self):
        path = os.path.join(self.folder, "soak-data")
        with open(path, "wb") as file:
            file.write(self.random.randbytes(self.SIZE))
        if not self.until_done(lambda: self.tool("nbdcopy", "--flush", path, self.uri)):
            return
        for _ in range(3):
            if not self.until_done(lambda: self.compare(path)):
                return

    @staticmethod
    def tool(*command):
        """Whether it ended well; one that waits for a stopped corelet is not waited for."""
        try:
            return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def compare(self, path):
        copy = path + ".out"
        if not self.tool("nbdcopy", self.uri, copy):
            return False
        with open(path, "rb") as wanted, open(copy, "rb") as got:
            if wanted.read() != got.read(self.SIZE):
                self.errors.append("nbdcopy read something else than it had written and flushed")
                return True
        self.verified += 1
        self.verified_bytes += self.SIZE
        return True


class Fio(StockClient):
    SIZE = 8 * MIB

    def round(self):
        self.until_done(self.attempt)

    def attempt(self):
        command = ["fio", "--name=soak", "--ioengine=nbd", f"--uri={self.uri}", f"--size={self.SIZE}", "--rw=randwrite", "--bs=4k", "--iodepth=8",
                   "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--verify_state_save=0", f"--randseed={self.random.randrange(1 << 30)}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=self.folder)
        except subprocess.TimeoutExpired:
            return False
        said = done.stdout + done.stderr
        if "verify: bad" in said or "verify failed" in said or "bad magic header" in said:
            self.errors.append("fio: " + said[:2000])
            return True
        if done.returncode != 0:
            return False
        self.verified += 1
        self.verified_bytes += self.SIZE
        return True


class Soak(SystemTest):
    """One run; `summary` is what it prints."""
    ATTEMPTS = 1  # whatever stands still
    options = argparse.Namespace(minutes=1.0, seed=1, net="unix")

    def setUp(self):
        super().setUp()
        self.random = random.Random(self.options.seed)
        self.injected = {}
        self.summary = {}
        os.environ["CORELET_DISK_FAULTS"] = "faults"
        self.addCleanup(os.environ.pop, "CORELET_DISK_FAULTS", None)

    # --- faults

    def kill(self, who):
        self.soaked.kill(who)
        self.wait_a_little(4)
        self.soaked.start(who)

    def kill_all(self, _who):
        self.soaked.kill(*range(1, CORELETS + 1))
        self.soaked.start(*range(1, CORELETS + 1))

    def stop(self, who):
        self.soaked.kill(who, sig="STOP")
        self.wait_a_little(8)
        self.soaked.kill(who, sig="CONT")

    def partition(self, who):
        self.soaked.run("lab", "partition", str(who))
        self.wait_a_little(10)
        self.soaked.run("lab", "mend")

    def slow_disk(self, who):
        self.rules(who, f"slow write 1+ {self.random.randint(5, 300)}ms")
        self.wait_a_little(8)
        self.rules(who)

    def stuck_disk(self, who):
        self.rules(who, "stuck write 1+", "stuck sync 1+")
        self.wait_a_little(10)
        self.rules(who)

    def flipped_bits(self, who):
        self.rules(who, f"flip read /{self.random.randint(1, 20)}")
        self.wait_a_little(8)
        self.rules(who)

    def full_disk(self, who):
        self.lose_device(who, "full write 1+")

    def failed_sync(self, who):
        self.lose_device(who, f"error sync {self.random.randint(1, 20)}")

    def lose_device(self, who, rule):
        """It has failed for good: an empty one takes its place."""
        self.rules(who, rule)
        self.wait_until(lambda: self.soaked.corelet(who)["state"] == "failing", f"corelet {who} is failing", PATIENCE)
        self.wait_a_little(3)
        self.soaked.kill(who)
        self.rules(who)
        self.wait_until(lambda: self.soaked.corelet(who)["state"] == "down", f"corelet {who} is down", PATIENCE)
        self.soaked.start(who, empty=True)

    def rules(self, who, *rules):
        path = f"{self.soaked.directory}/c{who}/faults"
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write("".join(rule + "\n" for rule in rules))
        os.rename(path + ".new", path)

    def wait_a_little(self, most):
        time.sleep(self.random.uniform(0.1, most))

    # --- the run

    def clients(self):
        volume = self.soaked.volume
        self.remembering = {}
        for name, pool, redundancy in (("r", "pr", "rep:3"), ("e", "pe", "ec:2+1")):
            uri = volume(name, "16M", pool=pool, redundancy=redundancy)
            self.remembering[name] = Load(socket_of(uri), name, 3000, depth=4, reads=0.3, seed=self.options.seed, patience=PATIENCE)
        self.stock = {"nbdcopy": NbdCopy(volume("c", f"{NbdCopy.SIZE // MIB}M", pool="pe"), self.folder, self.options.seed),
                      "fio": Fio(volume("f", f"{Fio.SIZE // MIB}M", pool="pr"), self.folder, self.options.seed)}
        self.history = History(socket_of(volume("h", "16M", pool="pr")), "h", clients=4, seed=self.options.seed, pause=0.01)
        for client in [*self.remembering.values(), *self.stock.values(), self.history]:
            self.addCleanup(client.stop)

    def errors(self):
        return [f"{name}: {error}" for name, client in [*self.remembering.items(), *self.stock.items(), ("history", self.history)] for error in client.errors]

    def whole(self, after):
        self.wait_until(lambda: self.soaked.status()["health"] == "ok" or self.errors(), f"whole again after {after}", PATIENCE)
        self.assertEqual(self.errors(), [], f"after {after}")

    def get_on(self, after):
        """Everybody who can wait gets answers again."""
        wanted = {name: load.acknowledged + 20 for name, load in self.remembering.items()}
        answered = self.history.answered + 20
        self.wait_until(lambda: self.errors() or self.history.answered >= answered and all(self.remembering[n].acknowledged >= w for n, w in wanted.items()),
                        f"all clients get on after {after}", PATIENCE)
        self.assertEqual(self.errors(), [], f"after {after}")

    def target(self):
        """Mostly somebody who owns a volume."""
        owners = [owner for owner in (self.soaked.owner(volume["name"]) for volume in self.soaked.status()["volumes"]) if owner]
        return self.random.choice(owners) if owners and self.random.random() < 0.6 else self.random.randint(1, CORELETS)

    def runTest(self):
        begun = time.monotonic()
        self.soaked = self.lab(CORELETS, size="1G", **({"net": "tcp"} if self.options.net == "tcp" else {}))
        self.clients()
        self.get_on("the start")
        kinds = [self.kill, self.kill, self.kill_all, self.stop, self.stop, self.slow_disk, self.stuck_disk, self.flipped_bits, self.full_disk, self.failed_sync]
        kinds += [self.partition, self.partition] if self.options.net == "tcp" else []
        bag = []
        while time.monotonic() < begun + self.options.minutes * 60:
            if not bag:  # each kind comes in turn, in another order each time
                bag = self.random.sample(kinds, len(kinds))
            kind = bag.pop()
            who = self.wait_until(self.target, "the mesh says who owns what", PATIENCE)
            print(f"soak: {time.monotonic() - begun:.0f} s: {kind.__name__} of corelet {who}", file=sys.stderr, flush=True)
            self.injected[kind.__name__] = self.injected.get(kind.__name__, 0) + 1
            kind(who)
            self.whole(kind.__name__)
            self.get_on(kind.__name__)
        self.verify()
        self.summary["seconds"] = round(time.monotonic() - begun)

    def verify(self):
        for client in [*self.stock.values(), self.history, *self.remembering.values()]:
            client.stop()
        for load in self.remembering.values():
            load.verify(PATIENCE)
        self.history.save(self.path("history"))
        code, said = history.check(self.path("history"))
        if code != 0:
            self.history.save(f"/tmp/corelet-history-{os.getpid()}")
        self.summary.update({
            "stock": {name: client.summary() for name, client in self.stock.items()},
            "remembering": {name: {"acknowledged": load.acknowledged, "read": load.read, "blocks_verified": len(load.holds), "reconnects": load.connects - 1,
                                   "longest_gap_s": round(load.longest_gap, 3)} for name, load in self.remembering.items()},
            "history": {"answered": self.history.answered, "without_an_end": self.history.unanswered, "verdict": said.strip().splitlines()[-1]}})
        self.assertEqual(code, 0, said[:4000])
        self.assertEqual(self.errors(), [])
        for name, client in self.stock.items():
            self.assertGreater(client.verified, 0, f"{name} never verified anything")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--net", choices=["unix", "tcp"], default="tcp" if meshes.may_make_networks() else "unix")
    parser.add_argument("--json", help="write the summary there, too")
    Soak.options = parser.parse_args()
    soak = Soak()
    result = unittest.TextTestRunner(stream=sys.stderr).run(soak)
    failures = [text for _, text in result.failures + result.errors]
    summary = {"ok": result.wasSuccessful(), "seed": Soak.options.seed, "minutes": Soak.options.minutes, "net": Soak.options.net,
               "injected": dict(sorted(getattr(soak, "injected", {}).items())), **getattr(soak, "summary", {}), "failures": failures}
    text = json.dumps(summary, indent=2)
    print(text)
    if Soak.options.json:
        with open(Soak.options.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    sys.exit(0 if summary["ok"] else 1)


if __name__ == "__main__":
    main()
