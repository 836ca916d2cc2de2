"""What clients feel while the mesh makes whole again what a corelet held."""
import os
import signal
import threading
import time

import load
from lab import GIB, Lab
from load import Load


class Watch(threading.Thread):
    """Asks for status while a load runs: how fast it is rebuilt, and for how long."""

    def __init__(self, lab):
        super().__init__(daemon=True)
        self.lab, self.samples, self.over = lab, [], threading.Event()

    def run(self):
        while not self.over.wait(0.5):
            healing = self.lab.status()["healing"]
            self.samples.append((time.monotonic(), healing["bytes_left"], healing["bytes_done"], healing["slowed_by"]))

    def end(self):
        self.over.set()
        self.join()
        return self.samples


def wait_whole(lab, limit=900):
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        status = lab.status()
        if status["healing"]["bytes_left"] == 0 and not any(pool["tables"] > 1 for pool in status["pools"]):
            return
        time.sleep(0.5)
    raise SystemExit("bench: it is not whole again in time")


def under(lab, name, size, seconds):
    job = Load("randrw", "4k", 8, size, seconds=seconds, extra=("--rwmixread=70",))
    return load.finish(load.start(job.command(load.nbd_uri(lab.socket(name), name)), lab.directory), lab.directory)


def healing(options):
    """Client p99 at depth 8 while a corelet's data are rebuilt, against without."""
    size = GIB if options.quick else 4 * GIB
    seconds = 10 if options.quick else 20
    with Lab(8, size="3G" if options.quick else "6G", cache="64M") as lab:
        name = lab.make_volume("ec:4+2", size)
        load.run(lab, name, Load("write", "1M", 8, size, total=size))
        usual = [under(lab, name, size, seconds) for _ in range(2)]
        p99 = sum(each.p99_us for each in usual) / len(usual)
        owner = lab.index_of(lab.volume_info(name)["owner"])
        victim = next(index for index in range(8, 0, -1) if index != owner)
        os.kill(lab.pids()[victim], signal.SIGKILL)
        deadline = time.monotonic() + 120
        while lab.status(at=owner)["healing"]["bytes_left"] == 0:
            if time.monotonic() > deadline:
                raise SystemExit("bench: nothing is rebuilt")
            time.sleep(0.2)
        watch = Watch(lab)
        watch.start()
        during = under(lab, name, size, seconds)
        samples = watch.end()
        working = [sample for sample in samples if sample[1] != 0]
        rate = (working[-1][2] - working[0][2]) / max(working[-1][0] - working[0][0], 0.1) if len(working) > 1 else 0
        alone = time.monotonic()
        wait_whole(lab)
        alone = time.monotonic() - alone
    print(f"  without: p99 {p99:.0f} us, {usual[-1].iops:.0f} IO/s; during: p99 {during.p99_us:.0f} us, {during.iops:.0f} IO/s; rebuilt "
          f"{rate / 1e6:.0f} MB/s in {len(working) * 100 // max(len(samples), 1)} % of that time, held to it by "
          f"{ {sample[3] for sample in working} or 'nobody'}; whole {alone:.0f} s after the clients had gone", flush=True)
    return [("4 KiB 70/30 depth 8, ec:4+2: client p99 during a rebuild / without", f"{during.p99_us / p99:.2f}", "2"),
            ("rebuilt meanwhile by all", f"{rate / 1e6:.0f} MB/s", "")]
