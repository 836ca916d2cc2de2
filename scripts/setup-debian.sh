#!/usr/bin/env bash
# Installs what Corelet builds, tests and demonstrates with, from Debian 12's own packages; nothing when all is there.
# Needs root or sudo only when a package is missing. Options: --list prints the packages, --check only looks.
set -euo pipefail

toolchain=(clang-19 lld-19 llvm-19 bolt-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev libc6-dev libstdc++-12-dev
           ninja-build cmake ccache pkg-config git patch python3)
libraries=(liburing-dev libisal-dev libprotobuf-dev protobuf-compiler libfmt-dev libspdlog-dev libcli11-dev
           nlohmann-json3-dev libboost-dev liblz4-dev libzstd-dev libxxhash-dev libssl-dev)
testing=(libjemalloc-dev libgtest-dev libgmock-dev libbenchmark-dev librapidcheck-dev spin)
# Stock clients and tools that the demo, the benchmarks and the system tests run against a mesh.
outside=(fio nbdkit libnbd-bin libnbd-dev qemu-utils iproute2 procps zstd e2fsprogs util-linux etcd-server)
packages=("${toolchain[@]}" "${libraries[@]}" "${testing[@]}" "${outside[@]}")

say() { echo "setup: $*" >&2; }

missing_packages() {
    local installed
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null | sed -n 's/^installed //p' || true)
    comm -23 <(printf '%s\n' "${packages[@]}" | sort -u) <(sort -u <<<"$installed")
}

# Prints the version of Debian this is, or nothing.
debian_version() {
    [[ -r /etc/os-release ]] || return 0
    ( . /etc/os-release; [[ ${ID:-} == debian ]] && echo "${VERSION_ID:-}" ) || true
}

explain_elsewhere() {
    say "this is not Debian 12, the one system Corelet is built and tested on, so nothing is installed here."
    say "It needs clang 19 or later with its lld and sanitizer runtimes (GCC 12 miscompiles coroutines, see"
    say "docs/adr/0001-toolchain.md), CMake 3.25, Ninja, protobuf, and what these Debian packages hold:"
    printf '%s\n' "${packages[@]}" | fmt -w 110 | sed 's/^/    /' >&2
    say "Install their like, put clang-19, clang++-19 and ld.lld on the PATH, and set CORELET_SKIP_SETUP=1."
}

install_packages() {
    local log as_root=()
    if [[ $(id -u) != 0 ]]; then
        command -v sudo >/dev/null || { say "missing: $*"; say "run as root: apt-get install $*"; return 1; }
        as_root=(sudo)
    fi
    log=$(mktemp)
    say "installing $# Debian packages: $*"
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300
               -o Acquire::Retries=3 -y -q)
    if "${apt[@]}" update >"$log" 2>&1 && "${apt[@]}" install --no-install-recommends "$@" >>"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    tail -n 40 "$log" >&2
    say "apt-get failed; its whole output is in $log"
    return 1
}

# Tests start an etcd of their own. That of the package would be started as a service with the installation and at each
# boot: while it is installed nothing is started, and afterwards it is disabled. One that was there before is left alone.
install_without_services() {
    local policy=/usr/sbin/policy-rc.d own_policy=0 failed=0 as_root=()
    [[ $(id -u) == 0 ]] || as_root=(sudo)
    if [[ " $* " == *" etcd-server "* && ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin "$policy" && own_policy=1
    fi
    install_packages "$@" || failed=1
    if (( own_policy )); then "${as_root[@]}" rm -f "$policy"; fi
    if [[ " $* " == *" etcd-server "* && $failed == 0 ]]; then
        "${as_root[@]}" update-rc.d etcd disable >/dev/null 2>&1 || say "etcd could not be disabled as a service"
    fi
    return "$failed"
}

main() {
    if [[ ${1:-} == --list ]]; then printf '%s\n' "${packages[@]}"; return 0; fi
    [[ ${CORELET_SKIP_SETUP:-0} == 0 ]] || return 0
    if [[ $(debian_version) != 12 ]]; then explain_elsewhere; return 1; fi
    local missing
    mapfile -t missing < <(missing_packages)
    if (( ${#missing[@]} == 0 )); then return 0; fi
    if [[ ${1:-} == --check ]]; then say "missing: ${missing[*]}"; return 1; fi
    install_without_services "${missing[@]}"
    mapfile -t missing < <(missing_packages)
    (( ${#missing[@]} == 0 )) || { say "still missing after the install: ${missing[*]}"; return 1; }
}

main "$@"
