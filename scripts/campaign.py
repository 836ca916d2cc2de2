#!/usr/bin/env python3
"""Runs everything that looks for bugs in Corelet for so many minutes, and tells what it did and found: DIR/campaign.json, DIR/report.md.

    campaign.py [--minutes N] [--only PART,...] [--from SEED] [--output DIR] [--write]

Parts: simulator, crash (power cuts), model, fuzz, soak, mutants. Seeds go on from where the last campaign in DIR ended. For each part whose
sources have not changed since, this is its continuation: seeds and mutants add up, and parts that are not asked for stay as they are told; so a long
campaign can be run in pieces; --write keeps it in docs/campaign.json, too, for another checkout. What was not run is told as not run. --minutes 0 runs
nothing and renders what DIR/campaign.json says. Exit code 0 only if something was run and nothing failed.
"""
import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures

import campaign_parse as parse
import campaign_report as render

ROOT = parse.ROOT
PAGE = os.path.join(ROOT, "docs", "reliability.md")
KEPT = os.path.join(ROOT, "docs", "campaign.json")
# What each part runs depends on these.
SOURCES = {"simulator": ("src", "tests/mesh", "tests/scenarios", "cmake"), "crash": ("src", "tests/crash", "cmake"), "model": ("model",),
           "fuzz": ("src", "fuzz", "cmake"), "soak": ("src", "tests/mesh", "tests/system", "cmake"), "mutants": ("src", "tests", "cmake")}
WEIGHTS = {"simulator": 50, "crash": 10, "model": 10, "fuzz": 10, "soak": 10, "mutants": 10}
BUILDS = {"simulator": ["corelet-sim-fast"], "crash": ["power_loss"], "soak": ["corelet", "history_check"]}
STANDARD = 0.6             # of the simulator's time; the other scenarios share the rest
TWICE_EVERY = 20
SEED_SECONDS = 300         # that a seed may take
MODEL_SECONDS = 900        # that all checks of the model take, with something to spare; its quick ones take a tenth
LEAST = {"model": MODEL_SECONDS / 10, "soak": 60, "fuzz": 60, "mutants": 300}  # seconds below which the part is not worth beginning


class NotRun(Exception):
    """Why a part cannot be run here."""


def say(text):
    print(f"campaign: {text}", file=sys.stderr, flush=True)


RUNNING = set()            # children, each the head of a session of its own


def end_all(number, _frame):
    """They would outlive this process."""
    for child in list(RUNNING):
        end_group(child)
    os._exit(128 + number)


def end_group(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def call(command, log, limit, environment=None):
    """Its exit code (None: it did not end in time, and was killed with its children) and what it wrote to both outputs, which are kept in `log`."""
    with open(log, "w", encoding="utf-8") as out, open(log + ".err", "w", encoding="utf-8") as err:
        child = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err, stdin=subprocess.DEVNULL, start_new_session=True,
                                 env={**os.environ, **(environment or {})})
        RUNNING.add(child)
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if child.poll() is None:
                end_group(child)
                child.wait()
            RUNNING.discard(child)
    texts = []
    for path in (log, log + ".err"):
        with open(path, encoding="utf-8", errors="replace") as file:
            texts.append(file.read())
    return code, *texts


class Campaign:
    def __init__(self, arguments, earlier):
        self.arguments = arguments
        self.output = os.path.abspath(arguments.output)
        self.bin = os.path.abspath(arguments.bin or os.path.join(ROOT, "build/release/bin"))
        self.next = dict(earlier.get("next", {}))  # by what it is drawn for: the first seed, or mutant, not yet run
        self.last = earlier
        self.earlier = {}  # parts of the campaign that this one goes on with, as they are told
        self.jobs = arguments.jobs
        self.pace = {}  # of each scenario: seconds and seeds so far
        self.lock = threading.Lock()

    def first_seed(self, name):
        return self.arguments.first or self.next.get(name, 1)

    def program(self, name):
        path = os.path.join(self.bin, name)
        if not os.access(path, os.X_OK):
            raise NotRun(f"there is no {path}")
        return path

    def log(self, name):
        return os.path.join(self.output, "logs", name)

    # --- simulator

    def simulator(self, seconds):
        names = sorted(name.removesuffix(".scenario") for name in os.listdir(os.path.join(ROOT, "tests/scenarios")) if name.endswith(".scenario"))
        names.sort(key=lambda name: name != "standard")
        program, earlier = self.program("corelet-sim-fast"), self.earlier.get("simulator", {})
        total, scenarios, begun = parse.nothing_simulated(), {}, time.monotonic()
        self.uncounted, self.busy = earlier.get("uncounted", 0), earlier.get("busy_seconds", 0.0)
        for name in names:
            share = seconds if len(names) == 1 else seconds * (STANDARD if name == "standard" else (1 - STANDARD) / (len(names) - 1))
            scenarios[name] = self.scenario(program, name, share, earlier.get("scenarios", {}).get(name, {}))
            parse.add(total, {**scenarios[name], "failures": []})
            say(f"{name}: seeds {scenarios[name]['first']}..{scenarios[name]['last']}, {len(scenarios[name]['failures'])} failed")
        failures = [failure for each in scenarios.values() for failure in each["failures"]]
        never = parse.never_seen(total["counts"])
        if total["seeds"] - self.uncounted >= render.ENOUGH_SEEDS:
            failures += [f"{name} stands at 0 after {total['seeds']:,} seeds" for name in never]
        return {"scenarios": scenarios, "total": total, "never_seen": never, "uncounted": self.uncounted, "busy_seconds": round(self.busy, 1),
                "seconds": round(earlier.get("seconds", 0) + time.monotonic() - begun, 1), "processes": self.jobs, "failures": failures}

    def scenario(self, program, name, seconds, earlier):
        """One process a core, each with a batch of seeds at a time, until the time is over. Each begins once at least."""
        first = self.first_seed(name)
        state = {**parse.nothing_simulated(), "first": first, "last": first - 1}
        if earlier.get("last") == first - 1:
            state = earlier
        deadline = time.monotonic() + seconds

        def work():
            while True:
                with self.lock:
                    if time.monotonic() >= deadline and state["last"] >= first:
                        return
                    begin = state["last"] + 1
                    end = state["last"] + self.batch(name, seconds)
                    state["last"] = end
                while begin <= end:
                    begin = self.sweep(program, name, begin, end, state)

        with futures.ThreadPoolExecutor(self.jobs) as pool:
            workers = [pool.submit(work) for _ in range(self.jobs)]
            while futures.wait(workers, 0.5).not_done:  # a signal that another thread was given is seen when this one wakes
                pass
        for worker in workers:
            worker.result()  # or what ended it
        self.next[name] = state["last"] + 1
        return state

    def batch(self, name, seconds):
        """So many seeds that a batch takes no more than a tenth of the time."""
        took, seeds = self.pace.get(name, (0, 0))
        return max(1, min(10, int(seconds / 10 * seeds / took))) if took else 1

    def sweep(self, program, name, begin, end, state):
        """Returns the first seed that is still to be run: one behind that at which the process died, if it did."""
        command = [program, "--scenario", f"tests/scenarios/{name}.scenario", "--seeds", f"{begin}..{end}", "--twice-every", str(TWICE_EVERY)]
        log, started = self.log(f"{name}-{begin}"), time.monotonic()
        code, text, errors = call(command, log, SEED_SECONDS * (end - begin + 1))
        outcome = parse.simulation(text, errors, code, name)
        with self.lock:
            spent, (took, seeds) = time.monotonic() - started, self.pace.get(name, (0, 0))
            self.busy += spent
            self.pace[name] = (took + spent, seeds + end - begin + 1)
            self.uncounted += outcome["uncounted"]
            parse.add(state, outcome)
        if outcome["failures"]:
            say(f"{name}: {outcome['failures'][-1]}"[:300])
        else:
            os.remove(log)
            os.remove(log + ".err")
        at = outcome["begun"]
        return at + 1 if at is not None and begin <= at < end and code not in (0, 1) else end + 1

    # --- the others

    def crash(self, seconds):
        first = self.first_seed("power_loss")
        code, text, _ = call([self.program("power_loss"), "--seeds", f"{first}..{first}", "--seconds", str(int(seconds)), "--json",
                              "--keep", os.path.join(self.output, "power_loss")], self.log("power_loss"), seconds + 600)
        summary, failures = parse.power_loss(text, code)
        self.next["power_loss"] = first + summary.get("runs", 1)
        return {"summary": {"first_seed": first, **summary}, "failures": failures}

    def model(self, seconds):
        quick = seconds < MODEL_SECONDS
        code, text, _ = call(["./dev", "model"] + (["--quick"] if quick else []), self.log("model"), max(2 * seconds, 600))
        told, failures = parse.model(text, code)
        return {"quick": quick, **told, "failures": failures}

    def fuzz(self, seconds):
        names = sorted(name.removesuffix("_fuzz.cc") for name in os.listdir(os.path.join(ROOT, "fuzz")) if name.endswith("_fuzz.cc"))
        targets, failures = [], []
        for name in names:
            each = max(1, int(seconds / len(names)))
            code, text, errors = call(["./dev", "fuzz", name, str(each)], self.log(f"fuzz-{name}"), each + 900)
            target, wrong = parse.fuzzing(name, text + errors, code)
            targets.append(target)
            failures += wrong
        return {"targets": targets, "failures": failures}

    def soak(self, seconds):
        seed, path = self.first_seed("soak"), os.path.join(self.output, "soak.json")
        if os.path.exists(path):
            os.remove(path)
        code, _, _ = call([sys.executable, "tests/system/soak.py", "--minutes", f"{seconds / 60:.1f}", "--seed", str(seed), "--json", path], self.log("soak"),
                          seconds + 3600, {"CORELET_BIN": self.program("corelet"), "HISTORY_CHECK": self.program("history_check")})
        summary = load(path)
        self.next["soak"] = seed + 1
        return {"summary": summary, "failures": parse.soak(summary, code)}

    def mutants(self, seconds):
        """One after the other while there is time, beginning behind the last one of the campaign before."""
        folder = os.path.join(ROOT, "tests/mutants")
        if not os.path.isdir(folder):
            raise NotRun("there is no tests/mutants in this tree")
        names = sorted((name.removesuffix(".patch") for name in os.listdir(folder) if name.endswith(".patch")), key=lambda name: (len(name.split("-")[0]), name))
        begin = names.index(self.next["mutants"]) if self.next.get("mutants") in names else 0
        path, deadline, failures = os.path.join(self.output, "mutants.json"), time.monotonic() + seconds, []
        save(path, json.dumps(self.earlier.get("mutants", {}).get("mutants", [])))
        for name in names[begin:] + names[:begin]:
            if time.monotonic() >= deadline:
                self.next["mutants"] = name
                break
            code, _, _ = call(["./dev", "mutants", name, "--json", path], self.log("mutant-" + name), 7200)
            if name not in [each["name"] for each in load(path, [])]:
                failures.append(f"mutant {name}: {parse.died(code)}, no result")
        told, survived = parse.mutants(load(path, []), len(names))
        return {**told, "failures": failures + survived}

    # --- the whole

    def build(self, wanted):
        """All that the parts need, before their time begins. False: it does not build."""
        jobs = []
        if targets := [target for name in wanted for target in BUILDS.get(name, [])]:
            if not self.arguments.bin:
                jobs.append(["release", *targets])
        if "fuzz" in wanted:
            jobs.append(["fuzz", "fuzzers"])
        return all(subprocess.run(["./dev", "build", *job], cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode == 0 for job in jobs)

    def go_on(self, told):
        """What the last campaign told of parts whose sources are the same stands; if that is any, its time counts."""
        if not told["clean"] or any(self.last.get(key) != told[key] for key in ("clean", "programs")):
            return 0
        self.earlier = {name: part for name, part in self.last["parts"].items() if part["state"] != "not run" and not part.get("broken") and
                        part.get("sources") == self.sources[name]}
        if not self.earlier:
            return 0
        told.update(began=self.last["began"], minutes=self.last["minutes"] + told["minutes"])
        return self.last["seconds"]

    def part(self, name, seconds):
        if seconds < LEAST.get(name, 0):
            return {"state": "not run", "reason": f"its share of {seconds:.0f} s is too short"}
        say(f"{name} for {seconds:.0f} s")
        begun = time.monotonic()
        try:
            part = {"seconds": 0.0, **getattr(self, name)(seconds)}
        except NotRun as why:
            return {"state": "not run", "reason": str(why)}
        part["seconds"] = part["seconds"] or round(time.monotonic() - begun, 1)
        part["state"], part["sources"] = "failed" if part["failures"] else "passed", self.sources[name]
        if name == "mutants" and part["ran"] == 0 and not part["failures"]:
            return {"state": "not run", "reason": "there was no time for any"}
        return part

    def run(self, wanted):
        git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
        trees = {name: git("rev-parse", *(f"HEAD:{folder}" for folder in folders)) for name, folders in SOURCES.items()}
        self.sources = {name: hashlib.sha256(tree.encode()).hexdigest()[:16] for name, tree in trees.items()}
        told = {"commit": git("rev-parse", "--short=10", "HEAD"), "clean": not git("status", "--porcelain"),
                "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
                "minutes": self.arguments.minutes, "machine": f"{os.cpu_count()} cores",
                "programs": self.arguments.bin or "", "parts": {}}
        before, built, begun = self.go_on(told), self.build(wanted), time.monotonic()
        # A share that falls to nobody here goes to the others.
        weights = {name: WEIGHTS[name] for name in wanted if name != "mutants" or os.path.isdir(os.path.join(ROOT, "tests/mutants"))}
        for name in render.PARTS:
            if name not in wanted:
                told["parts"][name] = self.earlier.get(name, {"state": "not run", "reason": "not asked for"})
            elif not built:
                told["parts"][name] = {"state": "failed", "broken": True, "seconds": 0, "reason": "does not build", "failures": [f"{name}: does not build"]}
            else:
                told["parts"][name] = self.part(name, self.arguments.minutes * 60 * weights.get(name, 0) / max(1, sum(weights.values())))
        told.update(seconds=round(before + time.monotonic() - begun, 1), next=self.next, verdict=verdict(told["parts"]))
        return told


def verdict(parts):
    states = {part["state"] for part in parts.values()}
    if "failed" in states:
        return "failed"
    return "nothing failed" if "passed" in states else "nothing was run"


def load(path, otherwise=None):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {} if otherwise is None else otherwise


def save(path, text):
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def parse_arguments(words):
    parser = argparse.ArgumentParser(prog="./dev campaign", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", default=",".join(render.PARTS), metavar="PART,...")
    parser.add_argument("--from", dest="first", type=int, metavar="SEED", help="the first seed, of the simulator and of all that draw by seeds")
    parser.add_argument("--output", default=os.path.join(ROOT, "build", "campaign"), metavar="DIR")
    parser.add_argument("--write", action="store_true", help="render the generated sections of docs/reliability.md, too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="simulator processes at once (one a core)")
    parser.add_argument("--bin", metavar="DIR", help="take the programs from there instead of building them (but for the fuzzers)")
    arguments = parser.parse_args(words)
    arguments.only = re.split(r",\s*", arguments.only)
    if unknown := [name for name in arguments.only if name not in render.PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(render.PARTS)}")
    return arguments


def main(words=None):
    arguments = parse_arguments(words)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_all)
    path = os.path.join(arguments.output, "campaign.json")
    os.makedirs(os.path.join(arguments.output, "logs"), exist_ok=True)
    campaign = load(path) or load(KEPT)
    if arguments.minutes > 0:
        campaign = Campaign(arguments, campaign).run(arguments.only)
        save(path, json.dumps(campaign, indent=1) + "\n")
    if campaign:
        report = render.report(campaign)
        save(os.path.join(arguments.output, "report.md"), "# What a campaign found\n\n" + report)
        print(report.split("\n### ")[0] + f"\nThe whole report: {os.path.join(arguments.output, 'report.md')}")
        for line in render.failures(campaign):
            print(line)
    if arguments.write:
        with open(PAGE, encoding="utf-8") as file:
            text = file.read()
        save(PAGE, render.page(text, campaign, parse.bugs(parse.read("docs/bugs.txt"))))
        if campaign:
            save(KEPT, json.dumps(campaign, indent=1) + "\n")
    if not campaign:
        say(f"there is no {path}: no campaign has been run")
    return 0 if campaign.get("verdict") == "nothing failed" else 1


if __name__ == "__main__":
    sys.exit(main())
