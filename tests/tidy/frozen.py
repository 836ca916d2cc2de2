"""Numbers that other versions read: fields of protobuf messages, methods of calls, codes of errors. Each stands in numbers.txt, and what stands
there is for ever: fields are added, numbers never reused (docs/format/README.md)."""
import re

from source import Problem

LIST = "tests/tidy/numbers.txt"
HEADING = """# Numbers on disk and wire: message or kind, number, name, type. They are never changed and never reused, not even when their owner is gone.
# New ones are added by `python3 tests/tidy/tidy.py --numbers`; a field that is no longer used is `reserved` in its .proto, and stays here.
"""
COMMENT = re.compile(r"//[^\n]*")
TOKEN = re.compile(
    r"\b(?P<kind>message|enum|oneof)\s+(?P<name>\w+)\s*\{"
    r"|(?P<type>(?:repeated\s+|optional\s+)?[\w.]+)\s+(?P<field>\w+)\s*=\s*(?P<number>\d+)\s*;"
    r"|(?P<value>\w+)\s*=\s*(?P<ordinal>\d+)\s*;"
    r"|reserved\s+(?P<reserved>[\d\s,to]+);"
    r"|(?P<close>\})")
RESERVED = "reserved"  # was something, and is nothing now
METHOD = re.compile(r"namespace\s+(?:\w+::)*(\w+_method)\s*\{|^inline constexpr Method (\w+)\{(0x[0-9A-Fa-f]{4})\};", re.MULTILINE)
CODES = re.compile(r"enum class Code : u16 \{(.*?)\};", re.DOTALL)


def proto_numbers(source):
    """(key, text, line) of each field and enum value, e.g. ('catalog.Segment 3', 'replicas repeated fixed64', 12)."""
    text = COMMENT.sub(lambda m: " " * len(m.group(0)), source.text)
    package = re.search(r"^package ([\w.]+);", text, re.MULTILINE)
    stack = []
    for match in TOKEN.finditer(text):
        line = source.line_of(match.start())
        if match.group("kind"):
            stack.append((match.group("kind"), match.group("name")))
        elif match.group("close"):
            if stack:
                stack.pop()
        elif stack:
            name = ".".join(n for kind, n in stack if kind != "oneof")
            key = f"{package.group(1) if package else ''}.{name}"
            if match.group("reserved"):
                for first, last in re.findall(r"(\d+)(?:\s+to\s+(\d+))?", match.group("reserved")):
                    for number in range(int(first), int(last or first) + 1):
                        yield f"{key} {number}", RESERVED, line
            elif match.group("field"):
                kind = " ".join(match.group("type").split())
                yield f"{key} {match.group('number')}", f"{match.group('field')} {kind}", line
            else:
                yield f"{key} {match.group('ordinal')}", f"{match.group('value')} enum", line


def method_numbers(source):
    room = ""
    for match in METHOD.finditer(source.text):
        if match.group(1):
            room = match.group(1)
            continue
        name = match.group(2) if match.group(2).startswith("k_method") else f"{room}::{match.group(2)}"
        yield f"method {match.group(3).lower()}", f"{name} call", source.line_of(match.start())


def code_numbers(source):
    for block in CODES.finditer(source.text):
        for match in re.finditer(r"\b(k\w+) = (\d+),", block.group(1)):
            yield f"code {match.group(2)}", f"{match.group(1)} error", source.line_of(block.start(1) + match.start())


def present(tree):
    """(key, text, path, line) of every number in the tree."""
    for source in tree.files.values():
        if not source.path.startswith("src/"):
            continue
        if source.path.endswith(".proto"):
            found = proto_numbers(source)
        elif source.is_header and not source.is_test:
            found = [*method_numbers(source), *code_numbers(source)]
        else:
            continue
        for key, text, line in found:
            yield key, text, source.path, line


def listed(tree):
    """{key: (text, line in the list)}"""
    out = {}
    if LIST in tree.files:
        for number, line in enumerate(tree.files[LIST].lines, 1):
            words = line.split()
            if len(words) >= 4 and not line.startswith("#"):
                out[" ".join(words[:2])] = (" ".join(words[2:]), number)
    return out


def check(tree):
    known, seen = listed(tree), {}
    for key, text, path, line in present(tree):
        if key in seen:
            yield Problem(path, line, "numbers", f"{key} is taken by {seen[key]}")
        seen[key] = text
        if text == RESERVED:
            continue
        if key not in known:
            yield Problem(path, line, "numbers", f"{key} ({text}) is new: add it with tidy.py --numbers")
        elif known[key][0] != text:
            yield Problem(path, line, "numbers", f"{key} was `{known[key][0]}` and is `{text}` now: take another number")
    for key, (text, number) in known.items():
        if key not in seen:
            yield Problem(LIST, number, "numbers", f"{key} ({text}) is gone from the sources: other versions still write it")


def extended(tree):
    """The text of the list with what is new; nothing that stands there changes."""
    known = {key: text for key, (text, _) in listed(tree).items()}
    for key, text, _, _ in present(tree):
        if text != RESERVED:
            known.setdefault(key, text)

    def order(key):
        name, number = key.split()
        return name, int(number, 0)

    return HEADING + "".join(f"{key} {known[key]}\n" for key in sorted(known, key=order))
