"""Mutable state outside objects: many corelets share one process in the simulator, so none of it may be theirs."""
import re

from functions import functions, without_directives

FUNCTION_STATIC = re.compile(r"(?<![\w])static\s+(?!const\b|constexpr\b|constinit\s+const\b)(?!thread_local\s+const)[\w:]")
GLOBAL = re.compile(
    r"^(?:static\s+|inline\s+|constinit\s+|thread_local\s+)*"
    r"(?!const\b|constexpr\b|using\b|typedef\b|class\b|struct\b|enum\b|union\b|friend\b|extern\b|template\b|namespace\b|return\b"
    r"|static_assert\b|concept\b|public\b|private\b|protected\b)"
    r"[\w:]+(?:<[^;()]*>)?[\s&*]+(?!const\b)\w+\s*(?:=[^=;]*|\{[^;]*\})?;", re.MULTILINE)
MEMBER = re.compile(r"^[ \t]+(?:static\s+inline|inline\s+static|static)\s+(?!const\b|constexpr\b|constinit\b|inline\b)"
                    r"[\w:]+(?:<[^;()]*>)?[\s&*]+\w+\s*(?:=[^;]*|\{[^;]*\})?;", re.MULTILINE)
FREE = {"os", "rt", "app"}


def check_statics(source, code):
    for function in functions(source):
        for match in FUNCTION_STATIC.finditer(code, function.start, function.end):
            line = source.line_of(match.start())
            if not source.has_note(line, "global"):
                yield source.problem(line, "state", "a function's static state outlives and joins the corelets of a process")


def check_globals(source, code):
    """Statements in the first column, where the formatter puts only namespace scope, and static members."""
    inside = [(f.start, f.end) for f in functions(source)]
    for match in sorted([*GLOBAL.finditer(code), *MEMBER.finditer(code)], key=lambda m: m.start()):
        if any(start < match.start() < end for start, end in inside):
            continue
        line = source.line_of(match.end())
        if not source.has_note(line, "global"):
            yield source.problem(line, "state", f"mutable state at namespace or class level: `{match.group(0).split(';')[0].strip()}`")


def check(tree):
    for source in tree.product():
        if source.folder in FREE:
            continue
        code = without_directives(source.code)
        yield from check_statics(source, code)
        yield from check_globals(source, code)
