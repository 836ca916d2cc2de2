"""Iteration over unordered containers: its order differs between libraries, so it must decide nothing, and say so."""
import re

from source import matching

DECLARED = re.compile(r"\bstd::unordered_(?:multi)?(?:map|set)\s*<")
FOR = re.compile(r"\bfor\s*\(")
BEGIN = re.compile(r"\b(\w+)(?:\(\))?\s*(?:\.|->)\s*c?begin\s*\(")


def declared_names(code):
    """Variables, members and accessors of an unordered type in this code, by direct declaration or by an alias."""
    names, aliases = set(), set()
    for match in DECLARED.finditer(code):
        end = matching(code, match.end() - 1, "<", ">")
        alias = re.search(r"\busing\s+(\w+)\s*=\s*$", code[:match.start()])
        if alias:
            aliases.add(alias.group(1))
            continue
        name = re.match(r"[\s&*]*(?:const\b)?\s*(\w+)", code[end:])
        if name:
            names.add(name.group(1))
    for alias in aliases:
        names.update(re.findall(rf"\b{alias}\b[\s&*]+(\w+)\s*[;={{(,)]", code))
    return names


def loops(code):
    """(offset, name) of each container that a loop or an iterator walks through."""
    for match in FOR.finditer(code):
        inner = code[match.end():matching(code, match.end() - 1, "(", ")") - 1]
        parts = re.split(r"(?<!:):(?!:)", inner.split(";")[-1])
        if len(parts) >= 2:
            name = re.search(r"(\w+)(?:\(\))?\s*$", parts[-1])
            if name:
                yield match.start(), name.group(1)
    for match in BEGIN.finditer(code):
        yield match.start(), match.group(1)


def known_names(tree, source):
    """Unordered names of the file and its pair, and the public ones of our headers it includes."""
    stem = re.sub(r"\.(h|cc)$", "", source.path)
    names = set()
    for path in (stem + ".h", stem + ".cc"):
        if path in tree.files:
            names |= declared_names(tree.files[path].code)
    for _, quoted, name in source.includes:
        if quoted and "src/" + name in tree.files:
            names |= {n for n in declared_names(tree.files["src/" + name].code) if not n.endswith("_")}
    return names


def check(tree):
    for source in tree.product():
        if source.folder == "os":
            continue
        names, seen = known_names(tree, source), set()
        for offset, name in loops(source.code):
            line = source.line_of(offset)
            if name in names and line not in seen and not source.has_note(line, "order-free"):
                seen.add(line)
                yield source.problem(line, "order", f"`{name}` is unordered: sort first, use another container, or say "
                                                    "`// order-free: reason`")
