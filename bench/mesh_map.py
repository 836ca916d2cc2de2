"""How large the map of a large mesh is, what its tables take, and how a new epoch goes round: pure cores under virtual time."""
import json
import os
import subprocess

from lab import BIN

HEAD_BYTES = 20 + 28  # of a datagram: the seal, and those of UDP and IPv4
EVENTS = ("down", "out", "join", "up", "drain", "clean")


def run(*arguments):
    done = subprocess.run([os.path.join(BIN, "bench_map"), *map(str, arguments)], capture_output=True, text=True, check=False)
    return json.loads(done.stdout)


def tables(options):
    out = []
    for corelets, redundancy in ((1000, "rep:3"), (1000, "ec:10+4"), (10000, "rep:3"), (10000, "ec:10+4")):
        if options.quick and redundancy != "rep:3":
            continue
        got = run("table", corelets, redundancy)
        print(f"  {corelets:>6} corelets, {redundancy}, {got['slots']} slots: table in {got['table_ms'] / 1000:.2f} s; map {got['map_bytes']} bytes, as a delta "
              f"from nothing {got['packed_bytes']}, outline {got['outline_bytes']}", flush=True)
        for name in EVENTS:
            event = got[name]
            print(f"           {name:<6} {event['delta_bytes']:>7} bytes, {event['delta_bytes'] / got['map_bytes']:.5f} of the map; computed in "
                  f"{event['compute_ms']:.1f} ms, told in {event['make_ms']:.2f}, taken in {event['take_ms']:.2f}", flush=True)
        title = f"map of {corelets}, {redundancy}"
        out.append((f"{title}: table of {got['slots']} slots", f"{got['table_ms'] / 1000:.2f} s", "10 s"))
        out.append((f"{title}: map, in short form", f"{got['map_bytes']}, {got['packed_bytes']}", ""))
        out.append((f"{title}: delta of a death, a drain", f"{got['down']['delta_bytes']}, {got['drain']['delta_bytes']}", ""))
    return out


def spreads():
    out = []
    for how, corelets, size in (("cores", 1000, 150), ("spread", 1000, 150), ("spread", 1000, 4000), ("spread", 10000, 150), ("spread", 10000, 4000)):
        got = run(how, corelets, size)
        each = got["bytes_each"] + got["messages_each"] * HEAD_BYTES
        by = "membership cores" if how == "cores" else "the ring and news alone"
        print(f"  {corelets:>6} corelets, a change of {size} bytes ({by}): half know after {got['half_ms']} ms, 99 % after {got['p99_ms']}, the last of "
              f"{got['learned']} after {got['last_ms']}; {got['messages_each']:.1f} messages and {each:.0f} bytes more a corelet, {got['fetched_share']:.3f} fetch it",
              flush=True)
        title = f"epoch of {size} bytes to {corelets} ({how})"
        out.append((f"{title}: 99 %, the last", f"{got['p99_ms']}, {got['last_ms']} ms", "1000, 2000 ms"))
        out.append((f"{title}: bytes a corelet", f"{each:.0f}", "5000" if size <= 900 else ""))
    return out


def mesh_map(options):
    """The map of 1,000 and 10,000 corelets: its tables, its size, what changes it, and how that goes round."""
    return tables(options) + spreads()
