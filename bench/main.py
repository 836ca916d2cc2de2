#!/usr/bin/env python3
"""The benchmarks: what Corelet costs, and how long a client waits. See README.md beside this.

    ./dev bench                    all of it (about half an hour; writes 60 GiB, needs 40 GiB of free disk)
    ./dev bench --quick            the same in a few minutes, over less data: not comparable with the targets
    ./dev bench cpu | latency | kill | owner | witnesses | healing | pauses | idle | reprotect | reconstruct | memory | gossip | map ...     some of it
"""
import argparse
import json
import os
import subprocess
import sys
import time

import gaps
import gossip
import healing
import idle
import load
import memory
import mesh_map
import pauses
import rebuild
from lab import BIN, GIB, MIB, Lab
from load import Load

CPU_TARGETS = {"randwrite": "60 us", "randread": "30 us"}
SEQUENTIAL_TARGETS = {"write": "2000 us", "read": "900 us"}


def show(name, outcome, per):
    print(f"  {name:<34} {outcome.iops:8.0f} IO/s, p50 {outcome.p50_us:7.0f} us, p99 {outcome.p99_us:7.0f} us; CPU {outcome.cpu_us:7.1f} us {per} "
          f"(corelets {outcome.corelet_seconds * 1e6 / outcome.ios:.1f}, fio {outcome.fio_seconds * 1e6 / outcome.ios:.1f})"
          + (f"; {outcome.written_per_byte:.2f} bytes written for each" if outcome.written_per_byte > 0.01 else ""), flush=True)


def prefill(lab, name, size):
    load.run(lab, name, Load("write", "1M", 8, size, total=size))


def cpu(options):
    """Processor time for each I/O, packing, cleaning and checkpoints included."""
    size = GIB if options.quick else 4 * GIB
    total = GIB if options.quick else 8 * GIB
    out = []
    for policy in options.policies:
        with Lab(3, size="4G" if options.quick else "11G", cache=f"{size // 8 // MIB}M") as lab:
            name = lab.make_volume(policy, size)
            prefill(lab, name, size)
            jobs = [Load("write", "1M", 8, size, total=total), Load("read", "1M", 8, size, total=size),
                    Load("randwrite", "4k", 32, size, total=total), Load("randread", "4k", 32, size, total=size // 2)]
            for job in jobs:
                if options.only and job.rw != options.only:
                    continue
                outcome = load.run(lab, name, job)
                small = job.block == "4k"
                target = CPU_TARGETS[job.rw] if small else SEQUENTIAL_TARGETS[job.rw] if policy != "rep:3" else ""
                title = f"{policy} {job.block} {job.rw} depth {job.depth}"
                show(title, outcome, "an I/O" if small else "a MiB")
                out.append((title + ": CPU", f"{outcome.cpu_us:.1f} us", target))
                if "write" in job.rw:
                    out.append((title + ": bytes written for each", f"{outcome.written_per_byte:.2f}", ""))
    return out


def nbd_round_trip(directory, seconds):
    """Median of a 4 KiB write to a server over memory, by fio as well."""
    path = f"{directory}/memory.nbd"
    command = [os.path.join(BIN, "nbd_memory_server"), "--listen", f"unix:{path}", "--size", str(GIB), "--prefault", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        server.stdout.readline()
        try:
            job = Load("randwrite", "4k", 1, GIB, seconds=seconds)
            return load.finish(load.start(job.command(load.nbd_uri(path, "memory")), directory), directory).p50_us
        finally:
            server.terminate()
            server.wait()


def latency(options):
    """The median write at depth 1, beside what its steps take by themselves in the same minute."""
    out = []
    seconds = 3 if options.quick else 8
    for policy in options.policies:
        with Lab(3, size="4G", cache="256M") as lab:
            name = lab.make_volume(policy, 2 * GIB)
            ratios = []
            for turn in range(options.turns):
                nbd = nbd_round_trip(lab.directory, seconds)
                steps = json.loads(subprocess.run([os.path.join(BIN, "bench_probe"), lab.directory], capture_output=True, text=True, check=True).stdout)
                job = Load("randwrite", "4k", 1, 2 * GIB, seconds=seconds)
                outcome = load.finish(load.start(job.command(load.nbd_uri(lab.socket(name), name)), lab.directory), lab.directory)
                total = nbd + steps["loopback_us"] + steps["durable_write_us"]
                ratios.append(outcome.p50_us / total)
                print(f"  {policy} turn {turn + 1}: write p50 {outcome.p50_us:.0f} us; NBD round trip {nbd:.0f} + loopback {steps['loopback_us']:.0f} + "
                      f"durable write {steps['durable_write_us']:.0f} = {total:.0f} us (unix socket instead: {steps['unix_us']:.0f}); "
                      f"{outcome.p50_us / total:.2f} times", flush=True)
            out.append((f"{policy} depth 1 write p50 / the sum of its steps", f"{sorted(ratios)[len(ratios) // 2]:.2f}", "1.5"))
    return out


PARTS = {"cpu": cpu, "latency": latency, "kill": gaps.kill_other, "owner": gaps.kill_owner, "witnesses": gaps.stop_witnesses,
         "healing": healing.healing, "pauses": pauses.pauses, "idle": idle.idle, "reprotect": rebuild.reprotect,
         "reconstruct": rebuild.reconstruct, "memory": memory.memory, "gossip": gossip.gossip, "map": mesh_map.mesh_map}


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all of them by default")
    parser.add_argument("--quick", action="store_true", help="less data and time; for a look, not for the record")
    parser.add_argument("--policy", help="of the pool: rep:3 or ec:2+1 (cpu and latency take both by default)")
    parser.add_argument("--only", help="of cpu: write, read, randwrite or randread; of pauses: a word of the case")
    parser.add_argument("--turns", type=int, default=3, help="how often what is timed is repeated (default 3)")
    options = parser.parse_args()
    options.policies = [options.policy] if options.policy else ["rep:3", "ec:2+1"]
    results = []
    for part in options.parts or PARTS:
        print(f"{part}: {PARTS[part].__doc__.strip().splitlines()[0]}", flush=True)
        began = time.monotonic()
        results += PARTS[part](options)
        print(f"  ({time.monotonic() - began:.0f} s)")
    print()
    width = max((len(name) for name, _, _ in results), default=0)
    for name, value, target in results:
        print(f"{name:<{width}}  {value:>16}" + (f"   (at most {target})" if target else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
