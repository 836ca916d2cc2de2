"""One line of the block benchmark from fio's JSON and the corelets' CPU ticks (10 ms each)."""
import json
import sys


def main() -> None:
    path, name, ticks = sys.argv[1], sys.argv[2], int(sys.argv[3])
    text = open(path, encoding="utf-8").read()
    job = json.loads(text[text.index("{"):])["jobs"][0]
    side = max((job["read"], job["write"]), key=lambda s: s["total_ios"])
    count = side["total_ios"]
    if count == 0:
        sys.exit(f"bench: {name}: no I/O was done")
    corelets = ticks * 10_000 / count
    fio = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] * 1000 / count
    percentile = side["clat_ns"]["percentile"]
    p50, p99 = percentile["50.000000"] / 1000, percentile["99.000000"] / 1000
    print(f"{name:<34} {side['iops']:9.0f} {p50:9.0f} {p99:9.0f} {corelets:10.1f} {fio:8.1f}")


main()
