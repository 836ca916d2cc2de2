"""Seeds of the simulator, one process each, until one fails."""
import os
import re
import resource
import signal
import subprocess
import threading

# A seed hangs by the time it computes: how much else this machine does must not decide. One that waits instead ends by the clock.
WAITS = 30

FAILED = re.compile(r"^FAILED seed \d+: (.*)$", re.MULTILINE)


class Found:
    def __init__(self):
        self.seed = 0  # the least that failed; 0: none
        self.by = ""
        self.ran = 0


def verdict(code, output, errors):
    """Who noticed: the judge's own words, or how the program ended. Empty: nobody did."""
    failed = FAILED.search(output)
    if failed:
        return failed[1].strip()[:200]
    if code == 0:
        return ""
    if code == -signal.SIGXCPU:
        return "time-out: the seed does not end"
    for line in (errors + "\n" + output).splitlines():
        if "assert" in line.lower() or "unreachable" in line.lower() or "terminate called" in line:
            return line.strip()[:200]
    last = (errors.strip() or output.strip() or "no word").splitlines()[-1]
    return (f"killed by signal {-code}: " if code < 0 else f"exit code {code}: ") + last[:160]


class Hunt:
    def __init__(self, binary, arguments, count, judge, timeout):
        self.binary = os.path.abspath(binary)
        self.arguments = arguments
        self.count = count
        self.judge = judge.lower()
        self.timeout = timeout
        self.next = 1
        self.running = {}
        self.lock = threading.Lock()
        self.found = Found()

    def take(self):
        with self.lock:
            if self.found.seed or self.next > self.count:
                return 0
            self.next += 1
            return self.next - 1

    def limit(self):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (self.timeout, self.timeout + 10))

    def run_seed(self, seed):
        command = [self.binary, *self.arguments, "--seed", str(seed)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                                   preexec_fn=self.limit)
        with self.lock:
            self.running[seed] = process
        try:
            output, errors = process.communicate(timeout=self.timeout * WAITS)
            return verdict(process.returncode, output, errors)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return "time-out: the seed waits for ever"
        finally:
            with self.lock:
                del self.running[seed]

    def note(self, seed, by):
        with self.lock:
            if self.found.seed and seed > self.found.seed:
                return  # stopped, or later than the one that counts
            self.found.ran += 1
            if not by or self.judge not in by.lower():
                return
            self.found.seed, self.found.by = seed, by
            for later, process in self.running.items():
                if later > seed:
                    process.kill()

    def work(self):
        while seed := self.take():
            self.note(seed, self.run_seed(seed))


def hunt(binary, arguments, count, judge, jobs, timeout):
    """Seeds 1 to `count`, in order, `jobs` at once, until one fails with the word `judge` in what it says."""
    job = Hunt(binary, arguments, count, judge, timeout)
    workers = [threading.Thread(target=job.work) for _ in range(min(jobs, count))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return job.found
