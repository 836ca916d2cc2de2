#!/usr/bin/env python3
"""Checks the models of the log and of the read lease with Spin: each line of variants.txt holds, or fails as it must.

    check.py [--quick] [--jobs N] [--only REGEX]    one line a check, then `N passed, N failed`
    check.py --trail NAME                           the shortest way in which a variant fails, step by step
    check.py --write                                all checks, and their figures into docs/model.md
    check.py --resume ...                           takes over what has passed already on these very models and lines
"""
import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
WORK = os.path.join(ROOT, "build", "model")   # a folder below it for each kind of run, so that two at once do not meet
PAGE = os.path.join(ROOT, "docs", "model.md")
COMPILER = next((name for name in ("clang-19", "cc") if shutil.which(name)), "cc")
JUDGES = {
    "log": ("acknowledged_write_is_kept", "served_write_is_kept", "log_is_one_chain", "ends_stay", "stream_is_recoverable"),
    "lease": ("read_is_fresh",),
}
MEMORY = 4500        # MiB for each of the (by default two) checks that run at once
DEPTH = 1000000      # steps; a run that would go deeper has not seen everything, and fails
FEW_STATES = 1000    # a check that holds over fewer has looked at nothing


@dataclass(frozen=True)
class Check:
    name: str
    quick: bool
    model: str
    expected: str
    bounds: tuple
    variant: tuple
    rule: str
    shows: str

    @property
    def macros(self):
        return [f"-D{macro}" for macro in self.bounds + self.variant]


@dataclass(frozen=True)
class Outcome:
    passed: bool
    text: str
    states: int
    depth: int
    seconds: float


def read_checks():
    checks = []
    with open(os.path.join(HERE, "variants.txt"), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip() or line.startswith("#"):
                continue
            fields = [field.strip() for field in line.split("|")]
            if len(fields) != 8:
                raise SystemExit(f"variants.txt:{number}: {len(fields)} fields, not 8")
            name, which, model, expected, bounds, variant, rule, shows = fields
            if which not in ("quick", "full") or model not in JUDGES or expected not in JUDGES[model] + ("holds",):
                raise SystemExit(f"variants.txt:{number}: unknown set, model or judge")
            checks.append(Check(name, which == "quick", model, expected, tuple(bounds.split()), tuple(variant.split()), rule, shows))
    known = macros_of_models()
    for check in checks:
        for macro in check.bounds + check.variant:
            if (check.model, macro.split("=")[0]) not in known:
                raise SystemExit(f"variants.txt: {check.name}: no line of the model {check.model} asks for {macro}")
    return checks


def sources():
    """(name, text) of each file of the models."""
    for name in os.listdir(HERE):
        if name.endswith(".pml"):
            with open(os.path.join(HERE, name), encoding="utf-8") as file:
                yield name, file.read()


def macros_of_models():
    """What the models ask for by #if: a misspelt variant would silently be the model as written."""
    known = set()
    for name, text in sources():
        for condition in re.findall(r"^#(?:if|elif|ifdef|ifndef)\b(.*)$", text, re.MULTILINE):
            known.update((name.split("_")[0].split(".")[0], word) for word in re.findall(r"\b[A-Z][A-Z_]*\b", condition))
    return known


def call(command, folder):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    return done.returncode, done.stdout


def build(check, kind, options):
    """Spin's verifier for the check, in a folder of its own. Most variants fail at once: for these compiling well is what takes long."""
    folder = os.path.join(WORK, kind, check.name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model = os.path.join(HERE, check.model + ".pml")
    code, text = call(["spin", f"-P{COMPILER} -E -x c", *check.macros, "-a", model], folder)
    if code != 0 or not os.path.exists(os.path.join(folder, "pan.c")) or re.search(r"\bError\b|redefined", text):
        raise RuntimeError("spin: " + text.strip()[:300])
    optimise = "-O0" if check.quick else "-O2"
    code, text = call([COMPILER, optimise, "-w", "-DSAFETY", "-DNOREDUCE", f"-DMEMLIM={MEMORY}", *options, "-o", "pan", "pan.c"], folder)
    if code != 0:
        raise RuntimeError(f"{COMPILER}: " + text.strip()[:300])
    return folder


def number(pattern, text):
    match = re.search(pattern, text)
    return int(match.group(1)) if match else 0


def judge(check, code, text, seconds):
    """Did Spin say what must be? Whatever it says of a search that it did not finish is not an answer."""
    states, depth = number(r"(\d+) states, stored", text), number(r"depth reached (\d+)", text)
    errors = re.findall(r"errors: (\d+)", text)
    said = re.search(r"assertion violated \(?(\w+)", text)
    if check.expected == "holds":
        complaint = re.search(r"max search depth too small|out of memory|memory limit|not completed|assertion violated.*|aborting.*", text)
        passed = code == 0 and errors == ["0"] and not complaint and states >= FEW_STATES
        result = "holds" if passed else "DOES NOT HOLD: " + (complaint.group(0) if complaint else f"{states} states, exit code {code}")
    else:
        passed = errors == ["1"] and said is not None and said.group(1) == check.expected
        result = f"fails: {said.group(1)}" if said else f"DOES NOT FAIL (exit code {code}, errors {errors})"
        if said and not passed:
            result += f", WHERE {check.expected} WAS TO FAIL"
    return Outcome(passed, result, states, depth, seconds)


def fingerprint(check):
    """Changes with whatever an outcome depends on."""
    digest = hashlib.sha256(repr((check.name, check.quick, check.model, check.expected, check.macros)).encode())
    for name in sorted(os.listdir(HERE)):
        if name.endswith(".pml"):
            with open(os.path.join(HERE, name), "rb") as file:
                digest.update(file.read())
    return digest.hexdigest()


def earlier(check, kind):
    try:
        with open(os.path.join(WORK, kind, check.name, "passed.json"), encoding="utf-8") as file:
            found = json.load(file)
        return Outcome(**found["outcome"]) if found["fingerprint"] == fingerprint(check) else None
    except (OSError, ValueError, KeyError):
        return None


def run(check, kind):
    key = fingerprint(check)
    try:
        folder = build(check, kind, [])
    except RuntimeError as error:
        return Outcome(False, f"COULD NOT BE RUN: {error}", 0, 0, 0.0)
    began = time.monotonic()
    code, text = call(["./pan", "-E", "-n", f"-m{DEPTH}", "-w18" if check.quick else "-w25"], folder)
    outcome = judge(check, code, text, time.monotonic() - began)
    with open(os.path.join(folder, "pan.txt"), "w", encoding="utf-8") as file:
        file.write(text)
    if outcome.passed:
        for name in os.listdir(folder):
            if name.startswith("pan") and name != "pan.txt":
                os.remove(os.path.join(folder, name))
        with open(os.path.join(folder, "passed.json"), "w", encoding="utf-8") as file:
            json.dump({"fingerprint": key, "outcome": asdict(outcome)}, file)
    return outcome


def run_all(checks, kind, jobs, resume):
    """Runs the long ones first, prints each as it ends, and returns the outcomes in the order of the checks."""
    outcomes = {}

    def one(check):
        outcomes[check.name] = outcome = (resume and earlier(check, kind)) or run(check, kind)
        print(f"{'pass' if outcome.passed else 'FAIL'}  {check.model + ' ' + check.name:24} {outcome.text:36} "
              f"{outcome.states:>10} states {outcome.seconds:7.1f} s", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, sorted(checks, key=lambda check: check.quick)))
    return [outcomes[check.name] for check in checks]


def hidden_names():
    names = set()
    for _, text in sources():
        for line in re.findall(r"^hidden byte (.*);", text, re.MULTILINE):
            names.update(re.findall(r"\b[a-z_]+\b", line))
    return names


def read_trail(text):
    """Spin's account of a trail as (step, process, file, line, what is new in the variables)."""
    steps, known, hidden = [], {}, hidden_names()
    for line in text.splitlines():
        place = re.match(r"\s*(\d+):\s+proc\s+\d+ \(([^:]+|:init:):\d+\) (\S+):(\d+)", line)
        value = re.match(r"\t\t(\w+)(\[\d+\])? = (\d+)$", line)
        if place and (not steps or steps[-1][0] != place.group(1)):
            steps.append((*place.groups(), {}))
        elif value and steps and value.group(1) not in hidden:
            name = value.group(1) + (value.group(2) or "")
            if known.get(name, "0") != value.group(3):
                steps[-1][4][name] = known[name] = value.group(3)
    return steps


def trail(check):
    """Prints a short trail of a failing check: who takes which step, as the model's source names it, and what it changes."""
    folder = build(check, "trail", ["-DREACH"])
    call(["timeout", "300", "./pan", "-E", "-n", "-I", "-m1000"], folder)
    model = os.path.join(HERE, check.model + ".pml")
    _, text = call(["spin", f"-P{COMPILER} -E -x c", *check.macros, "-k", check.model + ".pml.trail", "-p", "-g", model], folder)
    steps = read_trail(text)
    for count, (_, process, path, line, changes) in enumerate(steps, 1):
        with open(path, encoding="utf-8") as file:
            source = file.read().splitlines()[int(line) - 1].strip()
        print(f"{count:3}  {process:12} {os.path.basename(path)}:{line}: {source[:90]}")
        print("     " + " ".join(f"{name}={value}" for name, value in changes.items()))
    print("\n".join(re.findall(r"^spin: text of failed.*", text, re.MULTILINE)))
    return 0 if steps else 1


def table(checks, outcomes):
    lines = ["| check | protocols | bounds and variant | outcome | states | depth | what it shows |", "|---|---|---|---|---|---|---|"]
    for check, outcome in zip(checks, outcomes):
        macros = " ".join(f"`{macro}`" for macro in check.bounds) + " " + " ".join(f"**`{macro}`**" for macro in check.variant)
        lines.append(f"| {check.model} {check.name} | {check.rule} | {macros.strip() or 'as written'} | {outcome.text} | "
                     f"{outcome.states:,} | {outcome.depth} | {check.shows} |")
    return "\n".join(lines)


def write_page(checks, outcomes):
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    begin, end = "<!-- figures: written by `./dev model --write` -->\n", "<!-- end of figures -->"
    before, rest = text.split(begin)
    total = sum(outcome.states for outcome in outcomes)
    figures = f"{table(checks, outcomes)}\n\n{len(checks)} checks, {total:,} states in all.\n"
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(before + begin + figures + end + rest.split(end)[1])


def main():
    parser = argparse.ArgumentParser(description="Checks the models of the log and of the read lease with Spin.")
    parser.add_argument("--quick", action="store_true", help="small bounds only")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help=f"checks at once, each of up to {MEMORY} MiB")
    parser.add_argument("--only", default="", metavar="REGEX", help="the checks whose name matches")
    parser.add_argument("--trail", metavar="NAME", help="print the shortest way in which this check fails")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/model.md")
    parser.add_argument("--resume", action="store_true", help="do not repeat what has passed on these very models")
    arguments = parser.parse_args()
    checks = read_checks()
    if arguments.trail:
        found = [check for check in checks if check.name == arguments.trail and check.expected != "holds"]
        return trail(found[0]) if found else parser.error(f"no variant {arguments.trail}")
    if arguments.write and (arguments.quick or arguments.only):
        parser.error("--write wants all checks")
    picked = [check for check in checks if (check.quick or not arguments.quick) and re.search(arguments.only, check.name)]
    began = time.monotonic()
    outcomes = run_all(picked, "quick" if arguments.quick else "full", max(1, arguments.jobs), arguments.resume)
    passed = sum(outcome.passed for outcome in outcomes)
    if arguments.write and passed == len(outcomes):
        write_page(picked, outcomes)
    print(f"{passed} passed, {len(outcomes) - passed} failed in {time.monotonic() - began:.0f} s")
    return 0 if picked and passed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
