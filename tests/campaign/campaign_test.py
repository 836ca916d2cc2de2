#!/usr/bin/env python3
"""What a campaign makes of what its programs print: what fails is a failure, what was not run is not passed, and counts add up."""
import contextlib
import hashlib
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))

import campaign
import campaign_parse as parse
import campaign_report as render

CLEAN = """seed 19 scenario mesh corelets=3: 56310 virtual ms, 1000 events, 96 faults, hash 422e7130b3bbf8cf
seed 20 scenario mesh corelets=3: 56742 virtual ms, 500 events, 4 faults, hash dead7cf29f4de8f9
coverage seeds=2 twice=1 failed=0 virtual-seconds=113 kill=3 half-open=119 fault.kill=4 judged.linear=14 refused.no space=5 can-lose.1=22
hash 1e157c41e97c9319
"""
FAILED = """seed 7 scenario mesh: 100 virtual ms, 10 events, 1 faults, hash 422e7130b3bbf8cf
  log c1: something
FAILED seed 7: [linear] not linearizable: block 3
reproduce: corelet-sim --scenario mesh --seed 7 corelets=6
its last second: the same with --trace-from 0
seed 8 scenario mesh: 100 virtual ms, 10 events, 1 faults, hash 422e7130b3bbf8cf
coverage seeds=2 twice=0 failed=1 virtual-seconds=0 kill=1
hash 1e157c41e97c9319
"""
FUZZED = """#40482\tREDUCE cov: 7 ft: 7 corp: 6/18b lim: 381 exec/s: 0 rss: 27Mb L: 5/5 MS: 1 EraseBytes-
#2042497\tDONE   cov: 8 ft: 9 corp: 6/18b lim: 4096 exec/s: 680832 rss: 27Mb
Done 2042497 runs in 3 second(s)
stat::number_of_executed_units: 2042497
"""
CRASHED = """#2\tINITED cov: 3 ft: 3 corp: 1/1b exec/s: 0 rss: 27Mb
SUMMARY: libFuzzer: deadly signal
artifact_prefix='./'; Test unit written to ./crash-2e96a2cd
stat::number_of_executed_units: 1190
"""
MODELLED = """pass  log wide                 holds                                     24000 states     1.1 s
pass  log gossip               fails: acknowledged_write_is_kept           825 states     2.1 s
2 passed, 0 failed in 30 s
"""
# Stands in for corelet-sim: seed 3 fails, seed 5 ends the process, all else is clean.
SIMULATOR = r"""#!/bin/sh
while [ "$1" != --seeds ]; do shift; done
first=${2%..*} last=${2#*..} failed=0
seed=$first
while [ $seed -le $last ]; do
    printf 'seed %s scenario mesh' $seed
    if [ $seed = 5 ]; then
        echo 'assertion failed: a < b' >&2
        kill -ABRT $$
    fi
    echo ': 1000 virtual ms, 10 events, 2 faults, hash 0000000000000001'
    if [ $seed = 3 ]; then
        failed=1
        printf 'FAILED seed 3: [linear] wrong\nreproduce: corelet-sim --scenario mesh --seed 3\n'
    fi
    seed=$((seed + 1))
done
echo "coverage seeds=$((last - first + 1)) twice=0 failed=$failed virtual-seconds=1 fault.kill=$((last - first + 1))"
exit $failed
"""


class Parsing(unittest.TestCase):
    def test_a_clean_sweep_is_counted(self):
        out = parse.simulation(CLEAN, "", 0, "three")
        self.assertEqual([out[name] for name in parse.SUMS], [2, 1, 113052, 1500, 100])
        self.assertEqual(out["counts"], {"kill": 3, "half-open": 119, "fault.kill": 4, "judged.linear": 14, "refused.no space": 5, "can-lose.1": 22})
        self.assertEqual(out["failures"], [])

    def test_a_failed_seed_is_told_with_its_reproduction(self):
        out = parse.simulation(FAILED, "", 1, "standard")
        self.assertEqual(out["failures"], [{"scenario": "standard", "seed": 7, "what": "[linear] not linearizable: block 3",
                                            "reproduce": "corelet-sim --scenario mesh --seed 7 corelets=6"}])
        self.assertEqual(out["seeds"], 2)

    def test_a_process_that_dies_names_the_seed_and_loses_its_counts(self):
        text = CLEAN.splitlines()[0] + "\nseed 20 scenario mesh"
        for code, said in ((-6, "died of SIGABRT what it said"), (None, "no end within its time what it said")):
            out = parse.simulation(text, "noise\nwhat it said\n", code, "three")
            self.assertEqual([(each["seed"], each["what"]) for each in out["failures"]], [(20, said)])
            self.assertEqual((out["seeds"], out["uncounted"], out["counts"]), (1, 1, {}))

    def test_neither_silence_nor_a_bare_exit_code_passes(self):
        self.assertEqual(len(parse.simulation("", "", 0, "three")["failures"]), 1)
        self.assertEqual(len(parse.simulation(CLEAN, "", 3, "three")["failures"]), 1)

    def test_what_was_never_seen(self):
        counts = {name: 1 for name in parse.never_seen({})}
        self.assertEqual(parse.never_seen(counts), [])
        del counts["fault.kill"], counts["judged.linear"]
        self.assertEqual(parse.never_seen(counts), ["fault.kill", "judged.linear"])

    def test_power_cuts(self):
        good = '{"runs": 2, "crash_states": 2000, "failed": 0}\n'
        self.assertEqual(parse.power_loss(good, 0), ({"runs": 2, "crash_states": 2000, "failed": 0}, []))
        self.assertEqual(parse.power_loss("seed 2: a promise is gone\n" + good.replace('"failed": 0', '"failed": 1'), 1)[1], ["power_loss: seed 2: a promise is gone"])
        self.assertEqual(len(parse.power_loss(good, -11)[1]), 1)
        self.assertEqual(parse.power_loss("", -11), ({}, ["power_loss: died of SIGSEGV, no summary"]))

    def test_model(self):
        self.assertEqual(parse.model(MODELLED, 0), ({"hold": 1, "fail_as_they_must": 1, "states": 24825}, []))
        bad = MODELLED.replace("pass  log gossip", "FAIL  log gossip").replace("2 passed, 0", "1 passed, 1")
        self.assertEqual(parse.model(bad, 1)[1], ["model log gossip: fails: acknowledged_write_is_kept"])
        self.assertEqual(len(parse.model(MODELLED.rpartition("2 passed")[0], None)[1]), 1)
        self.assertEqual(len(parse.model("", 0)[1]), 1)

    def test_fuzzing(self):
        self.assertEqual(parse.fuzzing("map", FUZZED, 0), ({"target": "map", "runs": 2042497, "edges": 8, "features": 9, "corpus": 6, "seconds": 3}, []))
        self.assertEqual(parse.fuzzing("map", CRASHED, 1)[1], ["fuzz map: ./crash-2e96a2cd"])
        self.assertEqual(len(parse.fuzzing("map", "", 0)[1]), 1)

    def test_mutants(self):
        ran = [{"name": "01-a", "outcome": "caught"}, {"name": "02-b", "outcome": "survived"}, {"name": "03-c", "outcome": "broken"}, {"name": "04-d", "outcome": "not run"},
               {"name": "05-e", "outcome": "harmless", "harmless": "why"}, {"name": "06-f", "outcome": "caught", "harmless": "why"}]
        told, failures = parse.mutants(ran, 7)
        self.assertEqual((told["ran"], told["caught"], told["harmless"], told["not_run"]), (5, 2, 1, 2))
        self.assertEqual(failures, ["mutant 02-b: survived", "mutant 03-c: broken", "mutant 06-f: caught"])

    def test_soak(self):
        self.assertEqual(parse.soak({"ok": True, "failures": []}, 0), [])
        self.assertEqual(parse.soak({"ok": False, "failures": ["Traceback\nAssertionError: lost"]}, 1), ["soak: AssertionError: lost"])
        self.assertEqual(parse.soak({}, None), ["soak: no end within its time"])


class TheSources(unittest.TestCase):
    """What is read out of C++ is read whole: else a class or a judge that stands at 0 would not be missed."""

    def test_each_class_has_its_entry(self):
        table = parse.read("tests/mesh/fault_atlas.cc").split("k_classes{", 1)[1].split("\n};", 1)[0]
        self.assertEqual(len(parse.fault_classes()), table.count("&FaultAtlas::"))
        self.assertIn("kill", parse.fault_classes())

    def test_each_judge_has_its_invariants(self):
        self.assertEqual(len(parse.judges()), parse.read("tests/mesh/judges/judges.h").count("std::unique_ptr<Judge> make_"))
        for judge in parse.judges():
            self.assertTrue(judge["invariants"] and judge["what"], judge)
            self.assertLessEqual(set(judge["invariants"]), set(range(1, 13)), judge)

    def test_each_fault_point_has_its_name(self):
        listed = re.findall(r'^    "([\w.]+)",', parse.read("src/base/fault_point.h"), re.MULTILINE)
        self.assertGreater(len(listed), 10)
        self.assertEqual(parse.fault_points(), sorted(listed), "each that is listed, and none that is not")

    def test_each_kind_has_its_name(self):
        self.assertEqual(len(parse.world_kinds()), parse.read("src/sim/stats.cc").count("case FaultKind::") - 1)  # kCount has none


class Bugs(unittest.TestCase):
    def test_a_line_has_five_fields(self):
        self.assertEqual(parse.bugs("# a comment\n\n2026-01-02 | simulator | seed 1 | lost | abc\n"),
                         [{"date": "2026-01-02", "by": "simulator", "seed": "seed 1", "what": "lost", "commit": "abc"}])
        for line in ("2026-01-02 | simulator | seed 1 | lost", "2026-01-02 | simulator || lost | abc"):
            with self.assertRaises(ValueError):
                parse.bugs(line)

    def test_the_page_shows_the_list_as_it_is(self):
        text = parse.read("docs/reliability.md")
        self.assertEqual(render.page(text, {}, parse.bugs(parse.read("docs/bugs.txt"))), text, "./dev campaign --minutes 0 --write renders it")

    def test_only_what_is_between_the_markers_changes(self):
        page = "before\n" + "old\n".join(render.CAMPAIGN) + "\nbetween\n" + "old\n".join(render.BUGS) + "\nafter\n"
        out = render.replace(page, render.CAMPAIGN, "new\n")
        self.assertEqual(out, page.replace("old\n", "new\n", 1))
        with self.assertRaises(ValueError):
            render.replace("no markers", render.BUGS, "new")


class Whole(unittest.TestCase):
    """The script itself, with a stand-in for the simulator."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.addCleanup(setattr, campaign, "KEPT", campaign.KEPT)
        campaign.KEPT = os.path.join(self.folder, "kept.json")
        path = os.path.join(self.folder, "corelet-sim-fast")
        with open(path, "w", encoding="utf-8") as file:
            file.write(SIMULATOR)
        os.chmod(path, stat.S_IRWXU)

    def run_it(self, *words):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            code = campaign.main([*words, "--output", os.path.join(self.folder, "out"), "--bin", self.folder, "--jobs", "2"])
        with open(os.path.join(self.folder, "out", "campaign.json"), encoding="utf-8") as file:
            return code, json.load(file), said.getvalue()

    def as_if_on(self, trees, but=()):
        """The campaign so far, and what will be run, without changes: on these sources, or on others; but these parts on others."""
        path = os.path.join(self.folder, "out", "campaign.json")
        with open(path, encoding="utf-8") as file:
            told = json.load(file)
        with open(path, "w", encoding="utf-8") as file:
            digest = lambda text: hashlib.sha256(text.encode()).hexdigest()[:16]
            parts = {name: {**part, "sources": digest("others" if name in but else trees)} for name, part in told["parts"].items()}
            json.dump({**told, "parts": parts, "clean": True}, file)
        before = campaign.subprocess.run
        self.addCleanup(setattr, campaign.subprocess, "run", before)
        campaign.subprocess.run = lambda words, **_: subprocess.CompletedProcess(words, 0, stdout="these sources" if "rev-parse" in words else "")

    def test_clean_seeds_pass_and_the_next_ones_follow(self):
        code, told, _ = self.run_it("--only", "simulator", "--minutes", "0.001", "--from", "6")
        part = told["parts"]["simulator"]
        self.assertEqual((code, told["verdict"], part["state"], part["total"]["failures"]), (0, "nothing failed", "passed", []))
        self.assertEqual(part["total"]["seeds"], part["total"]["counts"]["fault.kill"])
        self.assertEqual({part["state"] for name, part in told["parts"].items() if name != "simulator"}, {"not run"})
        self.as_if_on("other sources")
        _, after, _ = self.run_it("--only", "simulator", "--minutes", "0.001")
        for name, scenario in part["scenarios"].items():
            self.assertEqual(after["parts"]["simulator"]["scenarios"][name]["first"], scenario["last"] + 1)

    def test_a_campaign_on_the_same_sources_goes_on(self):
        _, told, _ = self.run_it("--only", "simulator", "--minutes", "0.001", "--from", "3")
        self.as_if_on("these sources")
        code, after, _ = self.run_it("--only", "simulator", "--minutes", "0.001")
        before, part = told["parts"]["simulator"], after["parts"]["simulator"]
        self.assertEqual((code, after["seconds"] > told["seconds"], after["minutes"]), (1, True, 0.002))  # seed 3 has failed for ever
        self.assertEqual(part["total"]["seeds"], sum(each["last"] - each["first"] + 1 for each in part["scenarios"].values()) - sum(
            each["last"] >= 5 for each in part["scenarios"].values()))  # seed 5 dies
        for name, scenario in before["scenarios"].items():
            self.assertEqual(part["scenarios"][name]["first"], scenario["first"])
            self.assertGreater(part["scenarios"][name]["last"], scenario["last"])
        _, again, _ = self.run_it("--only", "crash", "--minutes", "0.001")
        self.assertEqual(again["parts"]["simulator"], part)
        self.as_if_on("these sources", but=["mutants", "crash"])
        _, again, _ = self.run_it("--only", "crash", "--minutes", "0.001")
        self.assertEqual(again["parts"]["simulator"], part)
        self.as_if_on("these sources", but=["simulator"])
        _, again, _ = self.run_it("--only", "crash", "--minutes", "0.001")
        self.assertEqual(again["parts"]["simulator"]["state"], "not run")

    def test_another_checkout_tells_what_was_kept(self):
        _, told, _ = self.run_it("--only", "simulator", "--minutes", "0.001", "--from", "6")
        os.rename(os.path.join(self.folder, "out", "campaign.json"), campaign.KEPT)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertEqual(campaign.main(["--minutes", "0", "--output", os.path.join(self.folder, "elsewhere")]), 0)
        self.assertIn(f"{told['parts']['simulator']['total']['seeds']:,} seeds", said.getvalue())

    def test_failures_are_told_and_stay_told(self):
        arguments = campaign.parse_arguments(["--output", self.folder, "--bin", self.folder, "--jobs", "1"])
        one = campaign.Campaign(arguments, {})
        os.makedirs(one.log(""))
        one.uncounted, one.busy, state = 0, 0.0, parse.nothing_simulated()
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(one.sweep(os.path.join(self.folder, "corelet-sim-fast"), "standard", 1, 9, state), 6)
            self.assertEqual(one.sweep(os.path.join(self.folder, "corelet-sim-fast"), "standard", 6, 9, state), 10)
        self.assertEqual([(each["seed"], each["what"]) for each in state["failures"]], [(3, "[linear] wrong"), (5, "died of SIGABRT assertion failed: a < b")])
        self.assertEqual((state["seeds"], one.uncounted, state["counts"]), (8, 4, {"fault.kill": 4}))
        code, told, said = self.run_it("--only", "simulator", "--minutes", "0.001", "--from", "3")
        self.assertEqual((code, told["verdict"]), (1, "failed"))
        self.assertIn("`corelet-sim --scenario mesh --seed 3`", said)
        self.assertEqual(self.run_it("--minutes", "0")[0], 1)

    def test_what_cannot_be_read_ends_the_campaign(self):
        self.addCleanup(setattr, parse, "coverage", parse.coverage)
        parse.coverage = lambda line: int("not a number")
        with self.assertRaises(ValueError):
            self.run_it("--only", "simulator", "--minutes", "0.001", "--from", "6")

    def test_a_class_that_never_begins_fails_a_long_campaign(self):
        before = render.ENOUGH_SEEDS
        self.addCleanup(setattr, render, "ENOUGH_SEEDS", before)
        render.ENOUGH_SEEDS = 1
        code, told, _ = self.run_it("--only", "simulator", "--minutes", "0.001", "--from", "6")
        self.assertEqual(code, 1)
        self.assertTrue(any(str(each).startswith("fault.pause stands at 0") for each in told["parts"]["simulator"]["failures"]))
        self.assertFalse(any(str(each).startswith("fault.kill ") for each in told["parts"]["simulator"]["failures"]))

    def test_an_interruption_leaves_no_process(self):
        path = os.path.join(self.folder, "corelet-sim-fast")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\necho $$ > {self.folder}/pid.new; mv {self.folder}/pid.new {self.folder}/pid; exec sleep 600\n")
        script = subprocess.Popen([sys.executable, os.path.join(ROOT, "scripts/campaign.py"), "--only", "simulator", "--jobs", "1", "--bin", self.folder,
                                   "--output", self.folder], stderr=subprocess.DEVNULL)
        while not os.path.exists(os.path.join(self.folder, "pid")):
            self.assertIsNone(script.poll())
            time.sleep(0.01)
        script.terminate()
        self.assertEqual(script.wait(), 128 + signal.SIGTERM)
        with open(os.path.join(self.folder, "pid"), encoding="utf-8") as file:
            pid = int(file.read())
        while os.path.exists(f"/proc/{pid}/exe"):  # else the test's limit ends it
            time.sleep(0.01)

    def test_what_could_not_be_run_has_not_passed(self):
        code, told, said = self.run_it("--only", "crash", "--minutes", "0.001")
        self.assertEqual((code, told["verdict"], told["parts"]["crash"]["state"]), (1, "nothing was run", "not run"))
        self.assertIn("| crash | **not run** | - | there is no ", said)


if __name__ == "__main__":
    unittest.main()
