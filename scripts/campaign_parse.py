"""What the programs of a campaign print, and what the sources say there is to be judged, as plain data."""
import json
import os
import re
import signal

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

SEED_BEGUN = re.compile(r"^seed (\d+) scenario ")
SEED_ENDED = re.compile(r"^seed (\d+) scenario .*: (\d+) virtual ms, (\d+) events, (\d+) faults, hash ([0-9a-f]+)$")
SUMS = ("seeds", "twice", "virtual_ms", "events", "faults")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


# --- what there is

def fault_classes():
    """The classes that are begun one by one, and so counted as fault.NAME."""
    text = read("tests/mesh/fault_atlas.cc")
    table = re.search(r"FaultAtlas::k_classes\{\n(.*?)\n\};", text, re.DOTALL)
    return re.findall(r'^\s*\{"([a-z-]+)",', table.group(1), re.MULTILINE) if table else []


def world_kinds():
    """What the simulated world does to machines, network and devices, by the names that its counts have."""
    return re.findall(r'return "([a-z-]+)";', read("src/sim/stats.cc"))


def judges():
    """Each judge's name, the invariants of protocols 12 that it watches, and what it watches, in the words of its header."""
    told = {}
    for comment, function in re.findall(r"((?:^//.*\n)+)\[\[nodiscard\]\] std::unique_ptr<Judge> (make_\w+)\(", read("tests/mesh/judges/judges.h"), re.MULTILINE):
        text = " ".join(line.lstrip("/ ") for line in comment.splitlines())
        numbers, _, what = text.partition(": ")
        told[function] = ([int(number) for number in re.findall(r"\d+", numbers)], what)
    return [{"name": name, "invariants": told.get(function, ([], ""))[0], "what": told.get(function, ([], ""))[1]}
            for name, function in re.findall(r'Entry\{"([a-z-]+)",\s*(make_\w+)\}', read("tests/mesh/judge.cc"))]


def fault_points():
    """The points of the product's code at which a run may be sent the rare way: FAULT_POINT("name")."""
    listed = os.path.join(ROOT, "src/base/fault_point.h")
    names = re.search(r"k_fault_points = [^\n]*\(\{(.*?)\n\}\);", read(listed), re.DOTALL) if os.path.exists(listed) else None
    found = set(re.findall(r'^\s*"([\w.]+)"', names.group(1), re.MULTILINE)) if names else set()
    for folder, _, names in os.walk(os.path.join(ROOT, "src")):
        for name in names:
            if name.endswith((".cc", ".h")) and not name.endswith("_test.cc"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    found.update(re.findall(r'^(?!\s*(?://|#define)).*?\bFAULT_POINT\("([\w.]+)"\)', file.read(), re.MULTILINE))
    return sorted(found)


def bugs(text):
    """docs/bugs.txt: `date | found by | seed or test | what | commit`."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 5 or not all(fields):
            raise ValueError(f"docs/bugs.txt:{number}: not five fields")
        found.append(dict(zip(("date", "by", "seed", "what", "commit"), fields)))
    return found


# --- what they print

def nothing_simulated():
    return {**{name: 0 for name in SUMS}, "counts": {}, "failures": []}


def coverage(line):
    """The counts of a coverage line, by name; there are names of two words ("refused.no space")."""
    return {name: int(count) for name, count in re.findall(r"(\S[^=]*)=(\d+)(?: |$)", line.removeprefix("coverage "))}


def died(code):
    if code is None:
        return "no end within its time"
    if code < 0:
        return f"died of {signal.Signals(-code).name}"
    return f"exit code {code}"


def simulation(text, errors, code, scenario):
    """The outcome of one corelet-sim over some seeds. `begun` is the last seed that it began: where it died, if it did. Counts of seeds that
    ran before such a death are lost with it (`uncounted`), the seeds themselves are not."""
    out = {**nothing_simulated(), "begun": None, "uncounted": 0}
    covered = False
    for line in text.splitlines():
        if begun := SEED_BEGUN.match(line):
            out["begun"] = int(begun.group(1))
        if ended := SEED_ENDED.match(line):
            out["seeds"] += 1
            for name, value in zip(("virtual_ms", "events", "faults"), ended.group(2, 3, 4)):
                out[name] += int(value)
        elif failed := re.match(r"FAILED seed (\d+): (.*)", line):
            out["failures"].append({"scenario": scenario, "seed": int(failed.group(1)), "what": failed.group(2), "reproduce": ""})
        elif line.startswith("reproduce: ") and out["failures"] and not out["failures"][-1]["reproduce"]:
            out["failures"][-1]["reproduce"] = line.removeprefix("reproduce: ")
        elif line.startswith("coverage "):
            covered = True
            counts = coverage(line)
            out["twice"] = counts.pop("twice", 0)
            for name in ("seeds", "failed", "virtual-seconds"):
                counts.pop(name, None)
            out["counts"] = counts
    if not covered or (code != 0 and not out["failures"]):
        last = errors.strip().splitlines()[-1:] or [""]
        out["failures"].append({"scenario": scenario, "seed": out["begun"], "what": f"{died(code)} {last[0]}".strip(),
                                "reproduce": f"./dev sim --scenario tests/scenarios/{scenario}.scenario --seed {out['begun']}"})
    if not covered:
        out["uncounted"] = out["seeds"]
    return out


def add(total, outcome):
    for name in SUMS:
        total[name] += outcome[name]
    for name, count in outcome["counts"].items():
        total["counts"][name] = total["counts"].get(name, 0) + count
    total["failures"] += outcome["failures"]


def never_seen(counts):
    """The classes of faults that never began, the judges that never judged, and the fault points that never sent a run the rare way."""
    there_are = [f"fault.{name}" for name in fault_classes()] + [f"judged.{judge['name']}" for judge in judges()] + [f"point.{name}" for name in fault_points()]
    return [name for name in there_are if not counts.get(name)]


def power_loss(text, code):
    """The summary of power_loss --json, and what it complained of. Without a summary there is none."""
    *before, last = text.strip().splitlines() or [""]
    try:
        summary = json.loads(last)
    except ValueError:
        return {}, [f"power_loss: {died(code)}, no summary"]
    failures = [f"power_loss: {line}" for line in before if line.strip()]
    if (code != 0 or summary.get("failed")) and not failures:
        failures = [f"power_loss: {died(code)}, {summary.get('failed')} states did not pass"]
    return summary, failures


def model(text, code):
    checks = [{"name": name.strip(), "passed": verdict == "pass", "outcome": outcome.strip(), "states": int(states)} for verdict, name, outcome, states in
              re.findall(r"^(pass|FAIL)  (.{24}) (.*?)\s+(\d+) states +[\d.]+ s$", text, re.MULTILINE)]
    failures = [f"model {check['name']}: {check['outcome']}" for check in checks if not check["passed"]]
    ended = re.search(r"^(\d+) passed, (\d+) failed in ", text, re.MULTILINE)
    if not ended or int(ended.group(1)) + int(ended.group(2)) != len(checks) or not checks or (code != 0 and not failures):
        failures.append(f"model: {died(code)}, {len(checks)} checks told")
    return {"hold": sum(check["passed"] and check["outcome"] == "holds" for check in checks),
            "fail_as_they_must": sum(check["passed"] and check["outcome"] != "holds" for check in checks),
            "states": sum(check["states"] for check in checks)}, failures


def fuzzing(target, text, code):
    """One libFuzzer run. Its last line of progress has the coverage; an input that it wrote down has made the decoder fail."""
    covered = re.findall(r"^#\d+\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)", text, re.MULTILINE)
    runs = re.search(r"^stat::number_of_executed_units: (\d+)", text, re.MULTILINE)
    ended = re.search(r"^Done \d+ runs in (\d+) second", text, re.MULTILINE)
    edges, features, corpus = (int(value) for value in covered[-1]) if covered else (0, 0, 0)
    failures = [f"fuzz {target}: {path}" for path in re.findall(r"Test unit written to (\S+)", text)]
    if not failures and (code != 0 or not ended or not runs or int(runs.group(1)) == 0):
        failures = [f"fuzz {target}: {died(code)}"]
    return {"target": target, "runs": int(runs.group(1)) if runs else 0, "edges": edges, "features": features, "corpus": corpus,
            "seconds": int(ended.group(1)) if ended else 0}, failures


def mutants(results, there_are):
    """What `./dev mutants --json` wrote, of those that ran; each that was not caught is a failure, unless its patch shows that it
    does no harm: then the opposite is."""
    ran = [result for result in results if result.get("outcome") not in (None, "not run")]
    caught = [result for result in ran if result["outcome"] == "caught"]
    failures = [f"mutant {result['name']}: {result['outcome']}" for result in ran
                if result["outcome"] != ("harmless" if result.get("harmless") else "caught")]
    harmless = sum(result["outcome"] == "harmless" for result in ran)
    return {"there_are": there_are, "ran": len(ran), "caught": len(caught), "harmless": harmless, "not_run": there_are - len(ran),
            "mutants": [{key: result.get(key) for key in ("name", "rule", "outcome", "harmless", "caught_by", "seed", "seeds_run")} for result in ran]}, failures


def soak(summary, code):
    failures = [f"soak: {str(text).strip().splitlines()[-1]}" for text in summary.get("failures", []) if str(text).strip()]
    if (code != 0 or not summary.get("ok")) and not failures:
        failures = [f"soak: {died(code)}"]
    return failures
