"""A mutant: one known-bad change to the source, a patch with a header that says which rule it leaves out."""
import glob
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KEYS = ("rule", "what", "loses", "run", "seeds", "judge", "missing", "harmless")
REQUIRED = ("rule", "what", "loses", "seeds")
SEEDS = 200  # of a patch that says nothing of it


class Malformed(Exception):
    pass


class Mutant:
    def __init__(self, name, path, header, diff):
        self.name = name
        self.path = path
        self.header = header
        self.diff = diff
        self.rule = header.get("rule", "")
        self.what = header.get("what", "")
        self.run = header.get("run", "").split()
        self.judge = header.get("judge", "")
        self.missing = header.get("missing", "")
        self.harmless = header.get("harmless", "")
        self.seeds = int(header.get("seeds", SEEDS))

    def number(self):
        digits = self.name.split("-")[0]
        return int(digits) if digits.isdigit() else 0

    def is_called(self, name):
        """Its number, its name, or a part of that."""
        return self.number() == int(name) if name.isdigit() else name in self.name

    def files(self):
        return re.findall(r"^\+\+\+ b/(\S+)", self.diff, re.MULTILINE)


def parse(path, text):
    """Lines of `key: value` up to the diff. A value goes on in lines that begin with a blank."""
    begin = re.search(r"^(diff --git |--- a/)", text, re.MULTILINE)
    if not begin:
        raise Malformed(f"{path}: no unified diff with paths a/... and b/... in it")
    header, last = {}, None
    for line in text[: begin.start()].splitlines():
        pair = re.match(r"([a-z]+):\s*(.*)", line)
        if pair and pair[1] in KEYS:
            last = pair[1]
            header[last] = pair[2].strip()
        elif last and line.startswith(" "):
            header[last] = (header[last] + " " + line.strip()).strip()
    if not header.get("seeds", "1").isdigit() or header.get("seeds") == "0":
        raise Malformed(f"{path}: `seeds` is a number from 1 on")
    name = os.path.basename(path).removesuffix(".patch")
    return Mutant(name, path, header, text[begin.start():])


def load(path):
    with open(path, encoding="utf-8") as file:
        return parse(path, file.read())


def load_all():
    found = [load(path) for path in glob.glob(os.path.join(HERE, "*.patch"))]
    return sorted(found, key=lambda mutant: (mutant.number(), mutant.name))


def breaches(mutant):
    """What a patch of this folder lacks."""
    found = [f"{mutant.name}: the header has no `{key}`" for key in REQUIRED if not mutant.header.get(key)]
    if not re.match(r"\d\d\d?-[a-z0-9-]+$", mutant.name):
        found.append(f"{mutant.name}: a patch is called NN-name.patch")
    if not mutant.files():
        found.append(f"{mutant.name}: it changes nothing")
    found += [f"{mutant.name}: {file} is not below src/" for file in mutant.files() if not file.startswith("src/")]
    return found
