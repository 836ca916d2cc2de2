#!/usr/bin/env bash
# A mesh of eight on this machine: real data goes in, two corelets are killed, no byte is lost, the mesh heals itself.
# Needs 10 GiB of free disk for a minute or two, asks nothing, leaves nothing behind. CORELET_DEMO_DIR: where.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

corelet=${CORELET_BIN:-$PWD/build/release/bin/corelet}
archive_mib=1100
device_size=1G
volume_size=2G

# --- saying ------------------------------------------------------------------------------------------------------------
begin=$SECONDS
summary=()

elapsed() { printf '%d.%d s' $(( ($(date +%s%N) - $1) / 1000000000 )) $(( ($(date +%s%N) - $1) / 100000000 % 10 )); }
step() { echo; echo "== $*"; step_ns=$(date +%s%N); }
done_step() { summary+=("$(printf '%-68s %s' "$1" "$(elapsed "$step_ns")")"); echo "   $1 ($(elapsed "$step_ns"))"; }
mib() { echo "$(( $1 / 1048576 )) MiB"; }

# --- leaving nothing ------------------------------------------------------------------------------------------------------
work=""
cleanup() {
    local code=$?
    trap - EXIT
    trap '' INT TERM HUP  # once is enough: what follows is short
    pkill -TERM -P $$ >/dev/null 2>&1 || true  # the client that is at work
    if [[ -n $work && -d $work ]]; then
        if (( code != 0 && code < 128 )); then
            echo "demo: failed with $code; this is how the mesh stood:" >&2
            "$corelet" status >&2 || true
            tail -qn 15 "$work"/lab/c*/corelet.log >&2 2>/dev/null || true
        fi
        [[ ! -e $work/lab/lab.json ]] || "$corelet" lab down --wipe >/dev/null 2>&1 || true
        rm -rf "$work"
    fi
    exit "$code"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
# What takes long runs so that an interruption need not wait for it.
patiently() { "$@" & wait $!; }

fail() { echo "demo: $*" >&2; exit 1; }

# --- looking --------------------------------------------------------------------------------------------------------------
# A value of `status --json`: an expression over `s`, with helpers.
look() {
    "$corelet" status --json | python3 -c '
import json, sys
s = json.load(sys.stdin)
c = s["corelets"]
v = s["volumes"][0] if s["volumes"] else {}
index = {x["id"]: x["index"] for x in c}
up = [x for x in c if x["state"] == "up"]
zone = {x["index"]: x["location"].split("/")[0] for x in c}
value = eval(sys.argv[1])
print(str(value).lower() if isinstance(value, bool) else value)
' "$1"
}

# wait_for SECONDS WHAT EXPRESSION: until the expression over the status holds, or the demo fails.
wait_for() {
    local until=$(( SECONDS + $1 )) shown=""
    while :; do
        [[ $(look "$3" 2>/dev/null || echo false) != true ]] || return 0
        (( SECONDS < until )) || fail "after $1 s: $2 did not happen"
        local line
        line=$(look '"%s; can lose %d; %d chunks degraded, %d MiB rebuilt, %d MiB left, %d MiB unpacked" % (s["health"], s["can_lose"],
            s["healing"]["chunks_degraded"], s["healing"]["bytes_done"] >> 20, s["healing"]["bytes_left"] >> 20, v.get("unpacked_bytes", 0) >> 20)' 2>/dev/null || true)
        if [[ $line != "$shown" ]]; then echo "   $line"; shown=$line; fi
        sleep 1
    done
}

# --- before ---------------------------------------------------------------------------------------------------------------
[[ -x $corelet ]] || fail "there is no $corelet; build it: ./dev build"
for tool in nbdcopy nbdinfo python3 sha256sum tar; do
    command -v "$tool" >/dev/null || fail "'$tool' is missing; install what the demo needs: ./dev setup"
done
base=${CORELET_DEMO_DIR:-${TMPDIR:-/tmp}}
free_kib=$(df -Pk "$base" | awk 'NR == 2 { print $4 }')
(( free_kib >= 10 * 1024 * 1024 )) || fail "$base has $(( free_kib / 1048576 )) GiB free, the demo takes 10; name another place: CORELET_DEMO_DIR=DIR ./dev demo"
work=$(mktemp -d "$base/corelet-demo.XXXXXX")
export CORELET_DIR=$work/lab

step "Eight corelets, each a process with a device of $device_size, over four zones"
"$corelet" lab up --corelets 8 --zones 4 --size "$device_size" --out-after 5s --dir "$work/lab" >/dev/null
"$corelet" pool create data --redundancy ec:4+2
"$corelet" volume create demo --size "$volume_size" --pool data
uri=$("$corelet" volume attach demo)
"$corelet" status
done_step "a mesh of 8 is up, with a 4+2 pool and a volume"

step "An archive of real files from /usr goes onto the volume with a stock NBD client"
# Whole files in the order of their names, until there is enough.
find /usr -xdev -type f -readable -printf '%s\t%p\n' 2>/dev/null | LC_ALL=C sort -t$'\t' -k2 |
    awk -F'\t' -v want=$(( archive_mib * 1048576 )) 'have < want { have += $1 + 512; print $2 }' >"$work/files"
patiently tar --create --no-recursion --absolute-names --ignore-failed-read --warning=none --file "$work/usr.tar" --files-from "$work/files" || true
bytes=$(stat -c %s "$work/usr.tar")
(( bytes >= 1073741824 )) || fail "/usr holds only $(mib "$bytes") of readable files; the demo wants 1 GiB"
(( bytes <= 2000000000 )) || fail "the archive is larger than the volume"
sum=$(sha256sum <"$work/usr.tar" | cut -d' ' -f1)
echo "   $(wc -l <"$work/files") files, $(mib "$bytes"), sha256 ${sum:0:16}..."
copy_ns=$(date +%s%N)
patiently nbdcopy --flush "$work/usr.tar" "$uri"
copied=$(elapsed "$copy_ns")
rm -f "$work/usr.tar"
done_step "$(mib "$bytes") written by nbdcopy in $copied, every write on media of 3 corelets"

step "The log is packed into chunks of 4 data and 2 parity fragments"
wait_for 120 "packing of 90 %" "v['unpacked_bytes'] * 10 <= $bytes"
done_step "at least 90 % is packed ($(mib "$(look "v['unpacked_bytes']")") still in the log)"

step "kill -9: the volume's owner, and a corelet in another zone"
owner=$(look "index[v['owner']]")
other=$(look "[i for i in zone if zone[i] != zone[$owner]][1]")
lost_bytes=$(look "sum(x['used_bytes'] for x in c if x['index'] in ($owner, $other))")
voters_before=$(look "sorted(x['index'] for x in c if x['voter'])")
"$corelet" lab kill "$owner,$other"
kill_ns=$(date +%s%N)
# Of the six; nothing of this loss is rebuilt before it is confirmed.
rebuilt_before=$(look "s['healing']['fragments_rebuilt']")
done_before=$(look "s['healing']['bytes_done']")
echo "   corelets $owner (the owner) and $other are dead, with $(mib "$lost_bytes") of fragments and log between them"
uri=$("$corelet" volume attach demo)
next=$(look "index[v['owner']]")
done_step "the volume is served again, by corelet $next"

step "Read everything back and compare"
# Leaves the sum of what the volume holds in $read_sum.
read_back() {
    patiently bash -c 'nbdcopy "$1" - | head -c "$2" | sha256sum >"$3"' - "$uri" "$bytes" "$work/sum" || true
    read_sum=$(cut -d' ' -f1 "$work/sum")
    [[ $read_sum == "$sum" ]] || fail "what was read back differs from what was written: sha256 $read_sum"
}
read_back
done_step "read back with 2 of 8 dead: sha256 is the same"

step "The six that are left rebuild what was lost, without being asked"
wait_for 180 "healing" "s['can_lose'] >= 2 and s['healing']['chunks_degraded'] == 0 and s['healing']['fragments_rebuilt'] > $rebuilt_before \
    and not {$owner, $other} & {x['index'] for x in c if x['voter']}"
healed=$(elapsed "$kill_ns")
rebuilt=$(look "s['healing']['fragments_rebuilt'] - $rebuilt_before")
rebuilt_bytes=$(look "s['healing']['bytes_done'] - $done_before")
voters_after=$(look "sorted(x['index'] for x in c if x['voter'])")
echo "   $rebuilt fragments, $(mib "$rebuilt_bytes"), rebuilt on the six"
echo "   voters of the catalog: $voters_before before, $voters_after now"
"$corelet" status
done_step "$(mib "$rebuilt_bytes") rebuilt, any 2 corelets may be lost again $healed after the kill"

step "Two empty replacements go in and fill"
"$corelet" lab start "$owner,$other" --empty
share="sum(x['used_bytes'] for x in up) / 8"
wait_for 240 "filling" "len(up) == 8 and all(x['used_bytes'] >= 0.8 * $share for x in c if x['index'] in ($owner, $other))"
for i in "$owner" "$other"; do echo "   corelet $i holds $(mib "$(look "[x['used_bytes'] for x in c if x['index'] == $i][0]")") of a share of $(mib "$(look "int($share)")")"; done
done_step "two replacements hold 80 % of their share"

step "Read everything back once more"
uri=$("$corelet" volume attach demo)
read_back
done_step "read back after healing: sha256 is the same"

echo
echo "== Summary"
printf '   %s\n' "${summary[@]}"
echo "   no byte lost; $(( SECONDS - begin )) s in all"
