"""How long a client behind `corelet connect` waits at worst: one corelet stopped or killed, a zone of three lost."""
import json
import os
import signal
import subprocess
import time

import gaps
import load
from lab import CORELET, GIB, Lab
from load import Load


class Door:
    """`corelet connect` for a volume of the lab, for the time of the with-block."""

    def __init__(self, lab, name):
        self.name = name
        self.path = f"{lab.directory}/{name}.door"
        self.process = subprocess.Popen([CORELET, "--json", "--dir", lab.directory, "connect", name, "--nbd", f"unix:{self.path}"],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.uri = json.loads(self.process.stdout.readline())["uri"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def holder(lab, name):
    """The number of a corelet in the open segment that is not the owner."""
    info = lab.volume_info(name)
    return lab.index_of(next(c for c in info["open_segment"] if c != info["owner"]))


def zone_of(lab, index):
    zone = lab.status()["corelets"][index - 1]["location"].split("/")[0]
    return [c["index"] for c in lab.status()["corelets"] if c["location"].startswith(zone + "/")]


def send(lab, numbers, kind):
    pids = lab.pids()
    for number in numbers:
        os.kill(pids[number], kind)


def owner(lab, name):
    return lab.index_of(lab.volume_info(name)["owner"])


def another_zone(lab, name):
    mine = zone_of(lab, owner(lab, name))
    return zone_of(lab, next(index for index in range(1, 10) if index not in mine))


CASES = [("SIGSTOP of another corelet", "1 s", lambda lab, name: ([holder(lab, name)], signal.SIGSTOP)),
         ("kill -9 of another corelet", "300 ms", lambda lab, name: ([holder(lab, name)], signal.SIGKILL)),
         ("a zone of three lost, the owner not in it", "5 s", lambda lab, name: (another_zone(lab, name), signal.SIGKILL)),
         ("a zone of three lost, the owner in it", "10 s", lambda lab, name: (zone_of(lab, owner(lab, name)), signal.SIGKILL))]


def one(options, case):
    """One turn of a case: fio writes 4 KiB at random at depth 8 through a door, and verifies what it wrote afterwards."""
    size = 256 << 20
    with Lab(9, size="3G", cache="256M", zones=3) as lab:
        name = lab.make_volume(options.policy or "rep:3", GIB, at=2)
        with Door(lab, name) as door:
            time.sleep(2)  # standbys are listed
            extra = ("--write_lat_log=gap", "--log_avg_msec=0", "--disable_slat=1", "--disable_clat=1", "--rate_iops=,1500", "--verify=crc32c", "--do_verify=1",
                     "--verify_fatal=1", "--verify_state_save=0")
            job = Load("randwrite", "4k", 8, size, total=size // 4, extra=extra)
            command = [word for word in job.command(door.uri) if word != "--norandommap"]
            process = load.start(command, lab.directory)
            time.sleep(5)
            numbers, kind = case(lab, name)
            send(lab, numbers, kind)
            load.finish(process, lab.directory)  # an error, or a wrong checksum, ends the bench
            if kind == signal.SIGSTOP:
                send(lab, numbers, signal.SIGCONT)
        before, after = gaps.read_log(lab.directory, 1000, 4500), gaps.read_log(lab.directory, 4500)
    return before, after


def pauses(options):
    """Longest gap of a client behind a door, 4 KiB random write at depth 8, verified."""
    out = []
    for what, limit, case in CASES:
        if options.only and options.only not in what:
            continue
        worst = 0.0
        for turn in range(options.turns):
            before, after = one(options, case)
            worst = max(worst, after.write)
            print(f"  {what}, turn {turn + 1}: longest gap {after.write:.0f} ms, longest wait {after.latency:.0f} ms (undisturbed {before.write:.0f}, "
                  f"{before.latency:.0f} ms), {after.ios} writes", flush=True)
        out.append((f"{what}: longest gap", f"{worst:.0f} ms", limit))
    return out
