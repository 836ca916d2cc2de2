#!/usr/bin/env python3
"""The judge is judged: each known-bad change of this folder, put into the source alone, must make the simulator fail.

    mutants.py [NAME...]        these mutants, or all; a name may be its number or a part of it
      --list                    what there is, and stop
      --seeds N                 so many seeds at most, whatever the patches say
      --patch FILE              this patch instead of those of the folder: any unified diff against the root
      --json FILE               the results, for a report; what FILE says of mutants that did not run now stays
      --markdown FILE           the results (with --json: all that stand there) as the table in FILE, between its two markers
      --jobs N                  processes at once (default: one for each core)
      --timeout N               seconds of computing until a seed counts as hung (default 60)

Exit code 0 only if the unmutated source runs clean and every mutant is caught, but for those whose patch shows that they do no harm: these
must not be.
"""
import argparse
import json
import os
import sys
import time

import mutant as mutants
import seeds
from tree import BuildFailed, Tree

MARKERS = ("<!-- table: begin -->", "<!-- table: end -->")


class Result:
    def __init__(self, mutant, outcome="survived"):
        self.mutant = mutant
        self.outcome = outcome  # caught, survived, harmless, not run, or broken: it does not apply or does not compile
        self.by = ""
        self.seed = 0
        self.ran = 0
        self.seconds = 0.0

    def settle(self, found):
        self.ran, self.seed, self.by = found.ran, found.seed, found.by
        self.outcome = "caught" if found.seed else "harmless" if self.mutant.harmless else "survived"

    def is_as_it_must(self):
        return self.outcome == ("harmless" if self.mutant.harmless else "caught")

    def row(self):
        by = self.by if self.outcome not in ("survived", "harmless") else f"nobody, in {self.ran} seeds"
        return [self.mutant.name, self.mutant.rule, by, str(self.seed) if self.seed else "-", f"{self.seconds:.0f}"]

    def as_json(self):
        mutant = self.mutant
        return {"name": mutant.name, "rule": mutant.rule, "what": mutant.what, "outcome": self.outcome, "caught_by": self.by,
                "seed": self.seed, "seeds_run": self.ran, "seeds_bound": mutant.seeds, "seconds": round(self.seconds, 1),
                "missing": mutant.missing, "harmless": mutant.harmless}


def judge_one(tree, mutant, bound, arguments):
    result, begun = Result(mutant), time.monotonic()
    try:
        with tree.mutated(mutant):
            binary = tree.build()
            found = seeds.hunt(binary, mutant.run, bound, mutant.judge, arguments.jobs, arguments.timeout)
        result.settle(found)
    except BuildFailed as error:
        result.outcome, result.by = "broken", str(error)
    result.seconds = time.monotonic() - begun
    return result


def runs_clean(tree, chosen, arguments):
    """The unmutated source has to run the same seeds clean; else nothing is proven."""
    most = {}
    for mutant in chosen:
        run = tuple(mutant.run)
        most[run] = max(most.get(run, 0), arguments.seeds or mutant.seeds)
    binary, clean = tree.build(), True
    for run, count in most.items():
        if tree.known_clean(binary, run, count):
            continue
        found = seeds.hunt(binary, list(run), count, "", arguments.jobs, arguments.timeout)
        name = "the unmutated source" + (f" with {' '.join(run)}" if run else "")
        if found.seed:
            print(f"{name} fails: seed {found.seed}, {found.by}")
            clean = False
        else:
            print(f"{name} runs {count} seeds clean")
            tree.note_clean(binary, run, count)
        sys.stdout.flush()
    return clean


def print_row(row):
    print(f"{row[0]:44} {row[1]:22} {row[3]:>5} {row[4]:>5}  {row[2]}", flush=True)


def in_order(each):
    return len(each["name"].split("-")[0]), each["name"]


def write_json(path, results):
    """Replaces what the file says of these mutants; written after each, for a run takes hours. Returns all that stand there."""
    try:
        with open(path, encoding="utf-8") as file:
            known = {each["name"]: each for each in json.load(file)}
    except (OSError, ValueError):
        known = {}
    known.update((result.mutant.name, result.as_json()) for result in results)
    every = sorted(known.values(), key=in_order)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(every, file, indent=1)
        file.write("\n")
    return every


def write_markdown(path, results, every):
    """The table between the markers, of all mutants; the rest of the page is written by hand."""
    known = {each["name"] for each in results}
    results = sorted(results + [Result(mutant, "not run").as_json() for mutant in every if mutant.name not in known], key=in_order)
    lines = ["| mutant | rule | what it leaves out | caught by | in seeds |", "|---|---|---|---|---|"]
    for each in results:
        by = each["caught_by"].replace("|", "/") if each["outcome"] == "caught" else f"**{each['outcome']}**"
        if each["outcome"] in ("survived", "not run") and each["missing"]:
            by += "; missing: " + each["missing"]
        if each["outcome"] == "harmless":
            by += ": " + each["harmless"]
        count = f"{each['seed']} of {each['seeds_bound']}" if each["seed"] else str(each["seeds_run"])
        lines.append(f"| {each['name']} | {each['rule']} | {each['what']} | {by} | {count} |")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before, after = text.split(MARKERS[0])[0], text.split(MARKERS[1])[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + MARKERS[0] + "\n" + "\n".join(lines) + "\n" + MARKERS[1] + after)


def choose(arguments):
    if arguments.patch:
        return [mutants.load(arguments.patch)]
    every = mutants.load_all()
    if not arguments.names:
        return every
    chosen = [mutant for mutant in every if any(mutant.is_called(name) for name in arguments.names)]
    if not chosen:
        raise mutants.Malformed("no mutant is called " + ", ".join(arguments.names))
    return chosen


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev mutants", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="what there is, and stop")
    parser.add_argument("--seeds", type=int, default=0, metavar="N", help="so many at most, whatever the patches say")
    parser.add_argument("--patch", metavar="FILE", help="this patch instead of those of the folder")
    parser.add_argument("--json", metavar="FILE", help="the results, for a report; others in it stay")
    parser.add_argument("--markdown", metavar="FILE", help="the results as the table in this page")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes at once")
    parser.add_argument("--timeout", type=int, default=60, metavar="N", help="seconds of computing until a seed counts as hung")
    return parser.parse_args()


def report(results, arguments):
    every = write_json(arguments.json, results) if arguments.json else [result.as_json() for result in results]
    if arguments.markdown:
        write_markdown(arguments.markdown, every, mutants.load_all())
    count = {outcome: sum(result.outcome == outcome for result in results) for outcome in ("caught", "harmless", "broken", "survived")}
    if count["broken"]:
        print(f"{count['broken']} do not apply or do not compile")
    refuted = [result.mutant.name for result in results if result.mutant.harmless and result.outcome == "caught"]
    if refuted:
        print(f"said to do no harm, and caught: {', '.join(refuted)}")
    print(f"{count['caught']} caught, {count['survived']} survived, {count['harmless']} do no harm")
    return 0 if all(result.is_as_it_must() for result in results) else 1


def main():
    arguments = parse_arguments()
    try:
        chosen = choose(arguments)
    except (mutants.Malformed, OSError) as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    if arguments.list:
        for mutant in chosen:
            print(f"{mutant.name:44} {mutant.rule:22} {mutant.what}")
        return 0
    tree = Tree(mutants.ROOT, arguments.jobs)
    try:
        tree.refresh()
        if not runs_clean(tree, chosen, arguments):
            print("mutants: nothing is proven while the unmutated source fails", file=sys.stderr)
            return 1
    except BuildFailed as error:
        print(f"mutants: the unmutated source does not build: {error}", file=sys.stderr)
        return 1
    print_row(["mutant", "rule", "caught by", "seed", "s"])
    results = []
    for mutant in chosen:
        results.append(judge_one(tree, mutant, arguments.seeds or mutant.seeds, arguments))
        print_row(results[-1].row())
        if arguments.json:
            write_json(arguments.json, results)
    return report(results, arguments)


if __name__ == "__main__":
    sys.exit(main())
