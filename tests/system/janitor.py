"""Waits until whoever started it closes its standard input, or dies, and leaves nothing of a test's folder: processes that bear it on
their command line, network namespaces of its labs, files. So nothing is left even when a test is killed for taking too long."""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time


def processes_of(folder):
    """{pid: arguments} of the processes of which some argument lies in the folder."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments = file.read().decode(errors="replace").split("\0")[:-1]
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                state = file.read().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX" and any(argument.startswith(folder + "/") for argument in arguments):
            found[int(pid)] = arguments
    return found


def kill_processes(folder):
    deadline = time.monotonic() + 20
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)
    return list(left)


def remove_networks(folder):
    for path in glob.glob(folder + "/**/lab.json", recursive=True):
        try:
            with open(path, encoding="utf-8") as file:
                lab = json.load(file)
        except (OSError, ValueError):
            continue
        bridge = lab.get("bridge")
        if not bridge:
            continue
        for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
            if name.startswith(f"corelet-{bridge[2:]}-"):
                subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        for name in os.listdir("/sys/class/net"):
            if name == bridge or name.startswith(bridge + "."):
                subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)


def main():
    folder = sys.argv[1]
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, signal.SIG_IGN)
    sys.stdin.buffer.read()
    left = kill_processes(folder)
    remove_networks(folder)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        print(" ".join(map(str, left)), flush=True)
    except BrokenPipeError:
        pass  # nobody is left to be told


if __name__ == "__main__":
    main()
