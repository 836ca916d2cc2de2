"""How long a client waits at worst while corelets die or stand still."""
import dataclasses
import glob
import os
import struct
import subprocess
import threading
import time

import load
from lab import GIB, CORELET, Lab
from load import Load
from nbd_client import Client

BLOCK = 4096


@dataclasses.dataclass
class Gaps:
    """Milliseconds: the longest time without an answer, and the longest wait of one request."""
    read: float
    write: float
    latency: float
    ios: int


def read_log(directory, since_ms=0, until_ms=float("inf")):
    """From fio's log of each completion: milliseconds since it began, nanoseconds of latency, direction."""
    last, gap, latency, ios = [None, None], [0.0, 0.0], 0.0, 0
    rows = []
    for path in glob.glob(f"{directory}/gap_lat.*.log"):
        with open(path, encoding="utf-8") as file:
            rows += [tuple(map(int, line.split(",")[:3])) for line in file]
    for at, wait, direction in sorted(rows):
        if at < since_ms or at > until_ms:
            continue
        if last[direction] is not None:
            gap[direction] = max(gap[direction], at - last[direction])
        last[direction] = at
        latency = max(latency, wait / 1e6)
        ios += 1
    return Gaps(gap[0], gap[1], latency, ios)


def under_load(lab, name, rw, seconds, events):
    """Runs fio at depth 8 for so long; events: (second, what to do). The gaps before the first event and from it on."""
    for path in glob.glob(f"{lab.directory}/gap_lat.*.log"):
        os.remove(path)
    extra = ("--write_lat_log=gap", "--log_avg_msec=0", "--disable_slat=1", "--disable_clat=1")
    job = Load(rw, "4k", 8, 2 * GIB, seconds=seconds, extra=extra)
    process = load.start(job.command(load.nbd_uri(lab.socket(name), name)), lab.directory)
    began = time.monotonic()
    for second, act in events:
        time.sleep(max(0.0, began + second - time.monotonic()))
        act()
    load.finish(process, lab.directory)
    # fio is up a little after its process begins: the first second of either part says nothing.
    first = events[0][0] * 1000
    return read_log(lab.directory, 1000, first - 500), read_log(lab.directory, first - 500)


def kill_other(options):
    """kill -9 of a corelet that is not the owner and holds a copy of the open segment."""
    worst = None
    for turn in range(options.turns):
        with Lab(6, size="4G", cache="256M") as lab:
            name = lab.make_volume(options.policy or "rep:3", 2 * GIB, at=1)
            owner = lab.volume_info(name)["owner"]
            victim = []

            def kill(lab=lab, name=name, owner=owner, victim=victim):
                held = [c for c in lab.volume_info(name)["open_segment"] if c != owner]
                index = lab.index_of(held[0])
                os.kill(lab.pids()[index], 9)
                victim.append(index)

            before, after = under_load(lab, name, "randwrite", 14, [(7, kill)])
            print(f"  turn {turn + 1}: corelet {victim[0]} killed under {after.ios} writes: longest gap {after.write:.0f} ms, longest wait "
                  f"{after.latency:.0f} ms (undisturbed: {before.write:.0f} and {before.latency:.0f} ms)", flush=True)
            worst = max(worst or 0, after.write)
    return [("kill -9 of another corelet, 4 KiB random write, depth 8: longest gap", f"{worst:.0f} ms", "300 ms")]


class Prober:
    """Writes and reads a block again and again; remembers when it was answered."""

    def __init__(self, path, name):
        self.path, self.name = path, name
        self.answers, self.failures, self.wrong = [], 0, 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        client, count = None, 0
        while not self.ending.is_set():
            try:
                client = client or Client(self.path, self.name, timeout=1.0)
                count += 1
                block = struct.pack("<Q", count) * (BLOCK // 8)
                client.write(0, block)
                self.wrong += client.read(0, BLOCK) != block
                self.answers.append(time.monotonic())
                time.sleep(0.005)
            except OSError:
                self.failures += 1
                if client:
                    client.close()
                client = None
                time.sleep(0.02)
        if client:
            client.close()

    def end(self):
        self.ending.set()
        self.thread.join()


def kill_owner(options):
    """kill -9 of the owner: until the export at the same path answers a write and a read of it."""
    out = []
    for leads, limit in ((False, "10 s"), (True, "15 s")):
        worst = 0.0
        for turn in range(options.turns):
            with Lab(6, size="4G", cache="256M") as lab:
                leader = lab.index_of(lab.status()["catalog"]["leader"])
                at = leader if leads else leader % 6 + 1
                name = lab.make_volume(options.policy or "rep:3", 2 * GIB, at=at)
                prober = Prober(lab.socket(name), name)
                time.sleep(4)
                now = lab.status()["catalog"]["leader"]
                pid = lab.pids()[at]
                os.kill(pid, 9)
                killed = time.monotonic()
                while not (prober.answers and prober.answers[-1] > killed + 0.5) and time.monotonic() < killed + 60:
                    time.sleep(0.05)
                prober.end()
                back = next((t for t in prober.answers if t > killed + 0.05), None)
                if back is None or prober.wrong:
                    raise SystemExit(f"bench: the export did not come back, or answered wrong ({prober.wrong} times)")
                led = lab.index_of(now) == at if not leads else True
                print(f"  turn {turn + 1}: the owner, corelet {at}{', which led the catalog,' if leads else ''} killed: answers again after "
                      f"{back - killed:.2f} s{' (it led after all)' if led and not leads else ''}", flush=True)
                worst = max(worst, back - killed)
        out.append((f"kill -9 of the owner{' that leads the catalog' if leads else ''}: answers again", f"{worst:.1f} s", limit))
    return out


def stop_witnesses(options):
    """Six corelets and five witnesses, which hold all votes, stopped for 60 s under reads and writes."""
    seconds = 15 if options.quick else 60
    with Lab(6, witnesses=5, size="6G", cache="256M") as lab:
        voters = wait_for_witnesses(lab)
        name = lab.make_volume(options.policy or "rep:3", 2 * GIB, at=2)
        every = ",".join(str(i) for i in range(7, 12))
        signal = lambda kind: lambda: subprocess.run([CORELET, "lab", "kill", every, "--signal", kind, "--dir", lab.directory], check=True,
                                                     capture_output=True)
        before, after = under_load(lab, name, "randrw", seconds + 14, [(7, signal("STOP")), (7 + seconds, signal("CONT"))])
    print(f"  {voters} witnesses hold all votes, all stopped for {seconds} s under {after.ios} reads and writes: longest gap of reads {after.read:.0f} ms, of "
          f"writes {after.write:.0f} ms, longest wait {after.latency:.0f} ms (undisturbed: {before.read:.0f}, {before.write:.0f}, {before.latency:.0f} ms)",
          flush=True)
    return [(f"witnesses stopped for {seconds} s: longest gap of reads and writes", f"{after.read:.0f} and {after.write:.0f} ms", "300 ms")]


def wait_for_witnesses(lab):
    """Until the witnesses hold all votes, in the words of one of them: how many do."""
    deadline = time.monotonic() + 60
    while True:
        voters = [corelet["role"] for corelet in lab.status(at=7)["corelets"] if corelet["voter"]]
        if voters == ["witness"] * 5:
            return len(voters)
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: the voters are {voters}, not the five witnesses")
        time.sleep(0.5)
