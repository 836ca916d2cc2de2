#!/usr/bin/env python3
"""Every mutant still fits the sources and says what it is about; and the runner itself can tell a caught one from one that is not."""
import os
import stat
import subprocess
import tempfile
import unittest

import mutant as mutants
import mutants as runner
import seeds

LEAST = 50


def applies(mutant, root):
    command = ["patch", "-p1", "--dry-run", "--forward", "--fuzz=0", "--reject-file=-", "-d", root]
    done = subprocess.run(command, input=mutant.diff, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


class Patches(unittest.TestCase):
    every = mutants.load_all()

    def test_there_are_enough(self):
        self.assertGreaterEqual(len(self.every), LEAST)

    def test_headers(self):
        self.assertEqual([breach for mutant in self.every for breach in mutants.breaches(mutant)], [])

    def test_numbers_are_used_once(self):
        numbers = [mutant.number() for mutant in self.every]
        self.assertEqual(sorted(set(numbers)), sorted(numbers))

    def test_they_apply(self):
        for mutant in self.every:
            with self.subTest(mutant.name):
                fits, said = applies(mutant, mutants.ROOT)
                self.assertTrue(fits, said)

    def test_one_that_has_drifted_does_not(self):
        drifted = mutants.parse("x", self.every[0].diff.replace("\n-", "\n-gone ", 1))
        self.assertFalse(applies(drifted, mutants.ROOT)[0])


class Headers(unittest.TestCase):
    DIFF = "--- a/src/x.cc\n+++ b/src/x.cc\n@@ -1 +1 @@\n-a\n+b\n"

    def test_keys_and_lines_that_go_on(self):
        mutant = mutants.parse("12-name.patch", "rule: 4.2\nwhat: one\n  two\nseeds: 7\nrun: a=1 b=2\n\n" + self.DIFF)
        self.assertEqual((mutant.rule, mutant.what, mutant.seeds, mutant.run), ("4.2", "one two", 7, ["a=1", "b=2"]))
        self.assertEqual(mutant.files(), ["src/x.cc"])
        self.assertEqual(mutants.breaches(mutant), ["12-name: the header has no `loses`"])

    def test_a_foreign_patch_needs_no_header(self):
        mutant = mutants.parse("foreign.diff", self.DIFF)
        self.assertEqual((mutant.seeds, mutant.run, mutant.judge), (mutants.SEEDS, [], ""))

    def test_what_is_no_patch(self):
        for text in ("rule: 1\n", "seeds: many\n" + self.DIFF, "seeds: 0\n" + self.DIFF):
            with self.assertRaises(mutants.Malformed):
                mutants.parse("x", text)

    def test_only_the_product_is_changed(self):
        mutant = mutants.parse("12-name.patch", "rule: 1\nwhat: 2\nloses: 3\nseeds: 4\n" + self.DIFF.replace("src/", "tests/"))
        self.assertEqual(mutants.breaches(mutant), ["12-name: tests/x.cc is not below src/"])

    def test_called_by_number_or_part(self):
        mutant = mutants.parse("07-no-fence.patch", self.DIFF)
        self.assertTrue(mutant.is_called("7") and mutant.is_called("07") and mutant.is_called("fence"))
        self.assertFalse(mutant.is_called("70") or mutant.is_called("lease"))


FAKE = """#!/bin/sh
while [ $# -gt 1 ]; do shift; done
case $1 in
    3) echo 'FAILED seed 3: two leaders in term 4'; exit 1 ;;
    5) echo 'x.cc:1: assertion failed: y' >&2; kill -ABRT $$ ;;
    6) while :; do :; done ;;
esac
"""


class Hunts(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.fake = os.path.join(self.folder.name, "fake")
        with open(self.fake, "w", encoding="utf-8") as file:
            file.write(FAKE)
        os.chmod(self.fake, stat.S_IRWXU)

    def hunt(self, count, judge="", timeout=60):
        return seeds.hunt(self.fake, ["--some", "thing"], count, judge, 2, timeout)

    def test_the_first_seed_that_fails_counts(self):
        found = self.hunt(9)
        self.assertEqual((found.seed, found.by), (3, "two leaders in term 4"))

    def test_clean_seeds(self):
        found = self.hunt(2)
        self.assertEqual((found.seed, found.ran), (0, 2))

    def test_another_judge_than_the_one_named_does_not_count(self):
        found = self.hunt(5, "assertion")
        self.assertEqual((found.seed, found.by), (5, "x.cc:1: assertion failed: y"))

    def test_a_seed_that_hangs(self):
        found = self.hunt(6, "time-out", 1)
        self.assertEqual(found.seed, 6)

    def test_a_program_that_dies_without_a_word(self):
        self.assertEqual(seeds.verdict(-11, "", ""), "killed by signal 11: no word")


class Outcomes(unittest.TestCase):
    def settled(self, header, seed):
        result = runner.Result(mutants.parse("07-a.patch", header + Headers.DIFF))
        found = seeds.Found()
        found.seed = seed
        result.settle(found)
        return result.outcome, result.is_as_it_must()

    def test_one_that_does_no_harm_must_survive(self):
        self.assertEqual(self.settled("rule: 1\n", 3), ("caught", True))
        self.assertEqual(self.settled("rule: 1\n", 0), ("survived", False))
        self.assertEqual(self.settled("rule: 1\nharmless: why\n", 0), ("harmless", True))
        self.assertEqual(self.settled("rule: 1\nharmless: why\n", 3), ("caught", False))


class Pages(unittest.TestCase):
    def test_results_of_several_runs_stand_together(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "results.json")
            for names, outcome in ((("07-a", "100-b"), "survived"), (("07-a", "12-c"), "caught")):
                results = [runner.Result(mutants.parse(name + ".patch", Headers.DIFF)) for name in names]
                for result in results:
                    result.outcome = outcome
                every = runner.write_json(path, results)
        self.assertEqual([(each["name"], each["outcome"]) for each in every],
                         [("07-a", "caught"), ("12-c", "caught"), ("100-b", "survived")])

    def test_the_table_takes_the_place_of_the_former_one(self):
        result = runner.Result(mutants.parse("07-a.patch", "rule: 4.2\nwhat: w\nseeds: 9\n" + Headers.DIFF))
        result.outcome, result.by, result.seed = "caught", "a | b", 3
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "page.md")
            with open(path, "w", encoding="utf-8") as file:
                file.write("head\n" + "\nold\n".join(runner.MARKERS) + "\ntail\n")
            other = mutants.parse("100-b.patch", "rule: 5.1\nwhat: v\nseeds: 9\n" + Headers.DIFF)
            runner.write_markdown(path, [result.as_json()], [other, result.mutant])
            runner.write_markdown(path, [result.as_json()], [other, result.mutant])
            with open(path, encoding="utf-8") as file:
                text = file.read()
        self.assertTrue(text.startswith("head\n") and text.endswith("\ntail\n") and "old" not in text)
        self.assertEqual(text.count("| 07-a | 4.2 | w | a / b | 3 of 9 |\n| 100-b | 5.1 | v | **not run** | 0 |\n"), 1)


if __name__ == "__main__":
    unittest.main()
