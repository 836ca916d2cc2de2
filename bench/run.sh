#!/usr/bin/env bash
# Block benchmark: a lab of three corelets, fio over NBD, CPU per I/O from /proc. See bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-block}" = block ] || { echo "bench: there is only 'block' so far" >&2; exit 2; }
seconds=${2:-10}
corelet=build/release/bin/corelet
dir=$(mktemp -d /tmp/corelet-bench.XXXXXX)
cleanup() { "$corelet" lab down --dir "$dir" --wipe >/dev/null 2>&1 || true; rm -rf "$dir"; }
trap cleanup EXIT

"$corelet" lab up --corelets 3 --dir "$dir" --size 12G
export CORELET_DIR=$dir
cpu_ticks() { # of all corelets of this lab
  local total=0 pid ticks
  for pid in $(pgrep -f "corelet serve.*$dir"); do
    ticks=$(awk '{print $14 + $15}' "/proc/$pid/stat" 2>/dev/null || echo 0)
    total=$((total + ticks))
  done
  echo "$total"
}
run() { # volume rw bs depth
  local before after
  before=$(cpu_ticks)
  fio --name=bench --ioengine=nbd --uri="nbd+unix:///$1?socket=$dir/$1.nbd" --rw="$2" --bs="$3" --iodepth="$4" --time_based \
    --runtime="$seconds" --size=4G --norandommap --output-format=json >"$dir/fio.json" 2>"$dir/fio.err"
  after=$(cpu_ticks)
  python3 bench/report.py "$dir/fio.json" "$1 $2 $3 depth $4" "$((after - before))"
}
printf '%-34s %9s %9s %9s %10s %8s\n' workload IOPS 'p50 us' 'p99 us' 'corelets' 'fio'
for policy in rep:3 ec:2+1; do
  name=${policy//[:+]/}
  "$corelet" pool create "$name" --redundancy "$policy" >/dev/null
  "$corelet" volume create "$name" --size 4G --pool "$name" >/dev/null
  "$corelet" volume attach "$name" >/dev/null
  run "$name" randwrite 4k 32
  run "$name" randread 4k 32
  run "$name" randwrite 4k 1
  run "$name" randread 4k 1
  run "$name" write 1M 8
  run "$name" read 1M 8
  "$corelet" volume detach "$name" >/dev/null
  "$corelet" volume rm "$name" >/dev/null
done
echo 'corelets, fio: CPU microseconds per I/O, of all corelet processes and of fio'
