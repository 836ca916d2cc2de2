"""What it costs to make whole again what one corelet held: processor time of all corelets."""
import os
import signal
import time

import load
from healing import wait_whole
from lab import GIB, Lab
from load import Load


def filled(lab, policy, size):
    name = lab.make_volume(policy, size)
    load.run(lab, name, Load("write", "1M", 8, size, total=size))
    lab.wait_packed(name, 0)
    return name


def lose_one(lab, name):
    """kill -9 of one that does not own the volume, until all it held is elsewhere: bytes it held, bytes rebuilt, CPU and wall seconds of it."""
    status = lab.status()
    owner = lab.index_of(lab.volume_info(name)["owner"])
    victim = next(c for c in reversed(status["corelets"]) if c["index"] != owner)
    at_rest = lab.cpu()
    time.sleep(3)
    at_rest = (lab.cpu() - at_rest) / 3  # of which nothing is due to the loss
    pids = lab.pids()
    os.kill(pids.pop(victim["index"]), signal.SIGKILL)
    begun, before = lab.cpu(), lab.status(at=owner)["healing"]["bytes_done"]
    began = time.monotonic()
    while lab.status(at=owner)["healing"]["bytes_left"] == 0:
        if time.monotonic() > began + 120:
            raise SystemExit("bench: nothing is rebuilt")
        time.sleep(0.2)
    started = time.monotonic()
    wait_whole(lab)
    seconds = time.monotonic() - started
    cpu = lab.cpu() - begun - at_rest * (time.monotonic() - began)
    done = lab.status(at=owner)["healing"]["bytes_done"] - before
    return victim["used_bytes"], done, cpu, seconds


def reprotect(options):
    """Processor time to re-protect 3 GiB (rep:3) after one of four corelets goes out, with nobody else at work."""
    size = GIB if options.quick else 4 * GIB
    with Lab(4, size="4G" if options.quick else "10G", cache="64M") as lab:
        held, done, cpu, seconds = lose_one(lab, filled(lab, "rep:3", size))
    scaled = cpu * 3 * GIB / done
    print(f"  {held / GIB:.2f} GiB were held, {done / GIB:.2f} rebuilt in {seconds:.0f} s with {cpu:.2f} CPU seconds of all corelets: {scaled:.2f} for 3 GiB", flush=True)
    return [("re-protecting 3 GiB after one of four goes out, rep:3: CPU of all corelets", f"{scaled:.2f} s", "4 s")]


def reconstruct(options):
    """Survivors' bytes that a CPU second of all corelets turns into rebuilt fragments, ec:4+2 on one host."""
    size = GIB if options.quick else 3 * GIB
    with Lab(7, size="4G", cache="64M") as lab:
        held, done, cpu, seconds = lose_one(lab, filled(lab, "ec:4+2", size))
    rate = done * 4 / cpu / 1e9
    print(f"  {held / GIB:.2f} GiB were held, {done / GIB:.2f} rebuilt in {seconds:.0f} s with {cpu:.2f} CPU seconds of all corelets: {rate:.2f} GB of survivors' bytes a "
          f"CPU second", flush=True)
    return [("reconstruction, ec:4+2: survivors' bytes a CPU second", f"{rate:.2f} GB", "")]
