"""A lab for the benchmarks: its processes, what they use, what they say."""
import json
import os
import shutil
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("CORELET_BENCH_BIN", os.path.join(ROOT, "build", "release", "bin"))
CORELET = os.path.join(BIN, "corelet")
TICKS = os.sysconf("SC_CLK_TCK")
GIB = 1 << 30
MIB = 1 << 20


def process_cpu(pid):
    """Seconds of processor time of a process, its threads and the children it has waited for (also of a zombie)."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(int(fields[i]) for i in (11, 12, 13, 14)) / TICKS


def process_io(pid):
    """Bytes that a process made its disks write."""
    with open(f"/proc/{pid}/io", encoding="utf-8") as file:
        return int(next(line for line in file if line.startswith("write_bytes")).split()[1])


def resident_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return int(next(line for line in file if line.startswith("VmRSS")).split()[1]) * 1024


class Lab:
    """A mesh as processes in a directory of its own, gone at the end of the with-block."""

    def __init__(self, corelets, witnesses=0, size="10G", cache="512M", zones=None):
        self.directory = tempfile.mkdtemp(prefix="corelet-bench.", dir=os.environ.get("CORELET_BENCH_DIR", "/tmp"))
        self.arguments = ["lab", "up", "--corelets", str(corelets), "--size", size, "--cache", cache, "--zones", str(zones or corelets)]
        if witnesses:
            self.arguments += ["--witnesses", str(witnesses)]

    def __enter__(self):
        try:
            self.corelet(*self.arguments)
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        subprocess.run([CORELET, "lab", "down", "--wipe", "--dir", self.directory], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def corelet(self, *arguments, at=None):
        """A command to the lab, or to one of its corelets alone."""
        directory = f"{self.directory}/c{at}" if at else self.directory
        done = subprocess.run([CORELET, *arguments, "--dir", directory], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench: corelet {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def status(self, at=None):
        return json.loads(self.corelet("status", "--json", at=at))

    def volume_info(self, name):
        return json.loads(self.corelet("volume", "info", name, "--json"))

    def make_volume(self, policy, size, at=1):
        """A pool and a volume of it, made and attached at a corelet; their name."""
        name = policy.replace(":", "").replace("+", "")
        self.corelet("pool", "create", name, "--redundancy", policy, at=at)
        self.corelet("volume", "create", name, "--size", str(size), "--pool", name, at=at)
        self.corelet("volume", "attach", name, "--at", self.identity(at), at=at)
        return name

    def identity(self, index):
        with open(f"{self.directory}/lab.json", encoding="utf-8") as file:
            return json.load(file)["corelets"][index - 1]["id"]

    def socket(self, name):
        return f"{self.directory}/{name}.nbd"

    def index_of(self, identity):
        return 1 + [corelet["id"] for corelet in self.status()["corelets"]].index(identity)

    def pids(self):
        out = {}
        for entry in sorted(os.listdir(self.directory)):
            try:
                with open(f"{self.directory}/{entry}/corelet.pid", encoding="utf-8") as file:
                    pid = int(file.read())
                os.kill(pid, 0)
                out[int(entry[1:])] = pid
            except (OSError, ValueError):
                continue
        return out

    def cpu(self):
        return sum(process_cpu(pid) for pid in self.pids().values())

    def bytes_written(self):
        return sum(process_io(pid) for pid in self.pids().values())

    def unpacked(self, name):
        return self.volume_info(name).get("unpacked_bytes", 0)

    def wait_packed(self, name, at_most, limit=300):
        """Until no more than `at_most` bytes are unpacked. What is left."""
        deadline = time.monotonic() + limit
        while (left := self.unpacked(name)) > at_most and time.monotonic() < deadline:
            time.sleep(0.5)
        return left
