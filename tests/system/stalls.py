"""How long this machine stood still while a test ran, as seen by a process that asks for almost nothing: for each processor the longest time
that a thread bound to it was late, and the longest time that a small write took to become durable. It says when it has begun, goes on until
standard input ends, and tells in one line of JSON. A mesh whose processes or devices get no turn for half a second counts them as dead, and rightly so."""
import json
import os
import sys
import threading
import time

TICK = 0.02
LATE = 0.25     # of a processor: half of what a corelet is given before it is suspected
DURABLE = 0.4   # of the disk
STOLEN = 0.10   # share of the time that a hypervisor gave to others
# Begins what a test says when bytes are wrong or lost. A mesh may be slow or away on a machine that stands still; wrong it may never be, so
# a test that says this is not run again.
WRONG = "WRONG DATA: "


class Watch:
    def __init__(self, folder):
        self.folder = folder
        self.ending = threading.Event()
        self.seen = {"late": 0.0, "durable": 0.0}
        self.stolen_before, self.all_before = self.stolen()
        self.threads = [threading.Thread(target=self.processor, args=(cpu,)) for cpu in os.sched_getaffinity(0)]
        self.threads.append(threading.Thread(target=self.disk))
        for thread in self.threads:
            thread.start()

    @staticmethod
    def stolen():
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
        return ticks[7], sum(ticks)

    def note(self, what, seconds):
        self.seen[what] = max(self.seen[what], seconds)

    def processor(self, cpu):
        os.sched_setaffinity(0, {cpu})
        while not self.ending.is_set():
            before = time.monotonic()
            time.sleep(TICK)
            self.note("late", time.monotonic() - before - TICK)

    def disk(self):
        path = os.path.join(self.folder, "stalls")
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        while not self.ending.wait(0.1):
            before = time.monotonic()
            os.pwrite(file, bytes(4096), 0)
            os.fdatasync(file)
            self.note("durable", time.monotonic() - before)
        os.close(file)

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()
        stolen, everything = self.stolen()
        self.seen["stolen"] = (stolen - self.stolen_before) / max(1, everything - self.all_before)
        return {key: round(value, 3) for key, value in self.seen.items()}


def stood_still(seen):
    """Whether what was seen is beyond what a mesh is built to ride out."""
    return seen["late"] >= LATE or seen["durable"] >= DURABLE or seen["stolen"] >= STOLEN


if __name__ == "__main__":
    watch = Watch(sys.argv[1])
    print("watching", flush=True)
    sys.stdin.buffer.read()
    print(json.dumps(watch.end()))
