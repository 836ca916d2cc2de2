"""fio over NBD, and what it cost: of fio and of all corelets, from /proc."""
import dataclasses
import json
import os
import subprocess

from lab import process_cpu


@dataclasses.dataclass
class Load:
    """What fio shall do."""
    rw: str
    block: str
    depth: int
    size: int
    total: int = 0       # bytes; or
    seconds: int = 0     # until then
    extra: tuple = ()

    def command(self, uri):
        out = ["fio", "--name=bench", "--ioengine=nbd", f"--uri={uri}", f"--rw={self.rw}", f"--bs={self.block}", f"--iodepth={self.depth}",
               f"--size={self.size}", "--norandommap", "--randrepeat=0", "--output-format=json", *self.extra]
        if self.total:
            out.append(f"--io_size={self.total}")
        if self.seconds:
            out += ["--time_based", f"--runtime={self.seconds}"]
        return out


@dataclasses.dataclass
class Outcome:
    ios: int
    megabytes: float
    iops: float
    p50_us: float
    p99_us: float
    fio_seconds: float      # of processor time
    corelet_seconds: float = 0.0
    written_per_byte: float = 0.0

    @property
    def cpu_us(self):
        """Of all processes, for each I/O."""
        return (self.fio_seconds + self.corelet_seconds) * 1e6 / self.ios


def nbd_uri(socket, name):
    return f"nbd+unix:///{name}?socket={socket}"


def start(command, directory):
    with open(f"{directory}/fio.out", "w", encoding="utf-8") as out, open(f"{directory}/fio.err", "w", encoding="utf-8") as err:
        return subprocess.Popen(command, stdout=out, stderr=err, cwd=directory)


def finish(process, directory):
    """Waits for fio and reads what it and /proc say."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    cpu = process_cpu(process.pid)
    if process.wait() != 0:
        with open(f"{directory}/fio.err", encoding="utf-8") as file:
            raise SystemExit("bench: fio failed: " + file.read()[-2000:])
    with open(f"{directory}/fio.out", encoding="utf-8") as file:
        text = file.read()
    job = json.loads(text[text.index("{"):])["jobs"][0]
    sides = [side for side in (job["read"], job["write"]) if side["total_ios"]]
    if not sides:
        raise SystemExit("bench: fio did no I/O")
    side = max(sides, key=lambda s: s["total_ios"])
    times = side.get("clat_ns", {}).get("percentile", {})
    return Outcome(sum(s["total_ios"] for s in sides), sum(s["io_bytes"] for s in sides) / 1e6, sum(s["iops"] for s in sides),
                   times.get("50.000000", 0) / 1e3, times.get("99.000000", 0) / 1e3, cpu)


def run(lab, name, load):
    """Runs the load against a volume of the lab. A write counts until no more is unpacked than before it."""
    writes = "write" in load.rw
    before = lab.unpacked(name) if writes else 0
    cpu, disk = lab.cpu(), lab.bytes_written()
    outcome = finish(start(load.command(nbd_uri(lab.socket(name), name)), lab.directory), lab.directory)
    left = lab.wait_packed(name, before) if writes else 0
    outcome.corelet_seconds = lab.cpu() - cpu
    outcome.written_per_byte = (lab.bytes_written() - disk) / (outcome.megabytes * 1e6)
    if left > before:
        print(f"bench: {left >> 20} MiB were unpacked at the end and {before >> 20} at the start: the figure is too kind")
    return outcome
