"""Memory of a corelet that holds much, put together from what its parts take: none of them needs 100 GiB of disk."""
import json
import os
import re
import subprocess
import tempfile
import time

from lab import BIN, GIB, MIB, Lab, resident_bytes


def memory(options):
    """A corelet with an index of 100 GiB of fragments, and a volume with 100 GiB written, attached and used."""
    del options
    with Lab(3, size="1G", cache="16M", zones=3) as lab:
        lab.make_volume("rep:3", GIB, at=1)
        time.sleep(3)
        idle = resident_bytes(lab.pids()[1])
    index = json.loads(subprocess.run([os.path.join(BIN, "bench_index_memory"), str(100 * GIB), str(MIB // 2)], capture_output=True, text=True,
                                      check=True).stdout)
    volume = volume_peak()
    total = (idle + index["resident_bytes"]) / MIB + volume
    print(f"  a corelet that serves an empty volume {idle / MIB:.0f} MiB, an index of {index['fragments']} fragments {index['resident_bytes'] / MIB:.0f} MiB, a "
          f"volume of 100 GiB under random reads and writes, its caches of 16 and 64 MiB included, {volume} MiB", flush=True)
    return [("memory with 100 GiB of fragments and of volume (block cache 16 MiB)", f"{total:.0f} MiB", "256 MiB")]


def volume_peak():
    """What the volume's own test of its size has seen."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/out.json"
        subprocess.run([os.path.join(BIN, "volume_test"), "--gtest_filter=SlowVolumeSize.*", f"--gtest_output=json:{path}"], check=True,
                       capture_output=True)
        with open(path, encoding="utf-8") as file:
            return int(re.search(r'"peak_mib": "?(\d+)', file.read()).group(1))
