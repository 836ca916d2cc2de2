"""Sizes, as a ratchet: what is over the limit stands in ratchet.txt with its size, which may only shrink."""
import re

from functions import functions
from source import Problem

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
RATCHET = "tests/tidy/ratchet.txt"
HEADING = """# What is over the limits ({file} lines a file, {function} a function), with its present size. Entries only shrink and go:
# split the thing instead of adding one. `python3 tests/tidy/tidy.py --ratchet` lowers and drops what it can.
"""


def oversized(tree):
    """{key: (lines, limit, path, line)} of all files and functions over the limit."""
    out = {}
    for source in tree.files.values():
        if not source.path.startswith(("src/", "tests/", "bench/", "fuzz/", "scripts/")):
            continue
        if not re.search(r"\.(h|cc|py|sh|cmake)$", source.path):
            continue
        lines = source.text.count("\n")
        if lines > FILE_LINES_MAX:
            out[source.path] = (lines, FILE_LINES_MAX, source.path, 1)
        if not source.is_cpp:
            continue
        for function in functions(source):
            key = f"{source.path}:{function.name}"
            if function.lines > max(FUNCTION_LINES_MAX, out.get(key, (0,))[0]):
                out[key] = (function.lines, FUNCTION_LINES_MAX, source.path, function.first_line)
    return out


def read_ratchet(tree):
    """{key: (lines, line in the file)}"""
    out = {}
    if RATCHET in tree.files:
        for number, line in enumerate(tree.files[RATCHET].lines, 1):
            words = line.split()
            if words and not words[0].startswith("#"):
                out[words[0]] = (int(words[1]), number)
    return out


def check(tree):
    present, listed = oversized(tree), read_ratchet(tree)
    for key, (lines, limit, path, line) in present.items():
        if key not in listed:
            yield Problem(path, line, "size", f"{key} has {lines} lines, the limit is {limit}: split it")
        elif lines > listed[key][0]:
            yield Problem(path, line, "size", f"{key} grew from {listed[key][0]} to {lines} lines: the ratchet only shrinks")
    for key, (lines, number) in listed.items():
        if key not in present:
            yield Problem(RATCHET, number, "size", f"{key} is within the limit now: drop the entry")
        elif present[key][0] < lines:
            yield Problem(RATCHET, number, "size", f"{key} shrank to {present[key][0]} lines: lower the entry")


def lowered(tree):
    """The text of the ratchet with each entry at its present size, or gone; none is raised or added."""
    present, listed = oversized(tree), read_ratchet(tree)
    text = HEADING.format(file=FILE_LINES_MAX, function=FUNCTION_LINES_MAX)
    for key in sorted(listed):
        if key in present:
            text += f"{key} {min(present[key][0], listed[key][0])}\n"
    return text
