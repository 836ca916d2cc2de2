#!/usr/bin/env python3
"""What the tests of a CTest run that failed said, in short, and how many there were: for whoever sees only the end of its output.

    failures.py RESULTS.XML     as `ctest --output-junit` writes it

Its last line is `N passed, N failed`.
"""
import re
import sys
import xml.etree.ElementTree as xml

LINES = 12  # of each test
AFTER = 2   # what stands below a telling line
TELLING = re.compile(r"what failed|FAILED|[Ff]ailure|Error\b|[Aa]ssert|WRONG DATA|attempt \d+ failed|runtime error|SUMMARY:")


def telling(output):
    """The lines of it that tell most: those with a telling word, else its last ones."""
    lines = [line.rstrip()[:300] for line in output.splitlines() if line.strip()]
    found = [at for at, line in enumerate(lines) if TELLING.search(line)]
    chosen = sorted({at for begin in found for at in range(begin, min(begin + AFTER + 1, len(lines)))})
    return [lines[at] for at in chosen[:LINES]] or lines[-LINES:]


def outcome(case):
    """passed, failed or skipped. One that could not be run has failed: CTest says so too, if not here."""
    status, skipped = case.get("status"), case.find("skipped")
    if status == "notrun" and skipped is not None and skipped.get("message", "").startswith("SKIP_"):
        return "skipped"
    return "passed" if status == "run" else "failed"


def summary(text):
    cases = [(case, outcome(case)) for case in xml.fromstring(text).iter("testcase")]
    out = []
    for case, how in cases:
        if how == "failed":
            out += [f"{case.get('name')} said:"] + ["    " + line for line in telling(case.findtext("system-out") or "")]
    count = [how for _, how in cases].count
    return out + [f"{count('passed')} passed, {count('failed')} failed"]


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8", errors="replace") as results:
        print("\n".join(summary(results.read())))
