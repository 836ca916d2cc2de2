"""What a mesh costs that nobody asks anything."""
import glob
import time

import load
from lab import GIB, MIB, Lab
from load import Load


def wake_ups(pids):
    """How often the threads of these processes have gone to sleep by themselves."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/status"):
            with open(path, encoding="utf-8") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    return total


def idle(options):
    """Processor time and wake-ups of six corelets with volumes attached that hold data, scrub on, nobody reading or writing."""
    seconds = 20 if options.quick else 60
    with Lab(6, size="4G", cache="64M") as lab:
        for at, policy in ((1, "rep:3"), (2, "ec:4+2")):
            name = lab.make_volume(policy, GIB, at=at)
            load.run(lab, name, Load("write", "1M", 8, GIB, total=256 * MIB))
        time.sleep(15)  # the last checkpoint and the standbys of a log at rest
        pids = list(lab.pids().values())
        cpu, wakes, began = lab.cpu(), wake_ups(pids), time.monotonic()
        time.sleep(seconds)
        span = time.monotonic() - began
        share = (lab.cpu() - cpu) / span * 100
        rate = (wake_ups(pids) - wakes) / span
    print(f"  {share:.2f} % of one core, {rate:.0f} wake-ups a second, {rate / 6:.1f} a corelet; over {span:.0f} s", flush=True)
    return [("an idle mesh of six, two volumes, scrub on: of one core", f"{share:.2f} %", "1 %"), ("its wake-ups a second", f"{rate:.0f}", "")]
