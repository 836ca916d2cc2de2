"""The repository speaks of Corelet alone. Patterns are spelt so that this file does not match itself."""
import re

WORDS = (
    (r"cl[a]ude|anthr[o]pic|chatg[p]t|\bcop[i]lot\b", "names a product that has no part in Corelet"),
    (r"\bass[i]stant\b|\bA[I][- ](session|agent|generated|helper)|\blanguage m[o]del\b|\bsubag[e]nt\b", "speaks of who typed it"),
    (r"\bdes[i]gn\.md\b|/work/sh[a]red|\bsh[a]red/(des[i]gn|prot[o]cols|facts|style)\b", "refers to a text outside the repository"),
    (r"deb\.deb[i]an\.org|registry\.npm[j]s|\bpyp[i]\.org|proxy\.gol[a]ng", "names a package registry's host"),
    (r"^(<{7} |>{7} |={7}$)", "is a left-over of a merge"),
)
WORDS = tuple((re.compile(pattern, re.IGNORECASE | re.MULTILINE), why) for pattern, why in WORDS)


def check(tree):
    for source in tree.files.values():
        for pattern, why in WORDS:
            for match in pattern.finditer(source.text):
                yield source.problem(source.line_of(match.start()), "words", f"`{match.group(0).strip()}` {why}")
            if pattern.search(source.path):
                yield source.problem(1, "words", f"the file's name {why}")
