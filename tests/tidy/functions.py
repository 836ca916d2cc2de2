"""Finds the functions of a C++ file by its braces: no compiler, but enough to measure them."""
import re
from dataclasses import dataclass

from source import matching

NOT_A_TYPE = re.compile(r"\b(class|struct|union|enum)\b")
TRAILER = re.compile(r"\)\s*((const|noexcept(\s*\(\s*\))?|override|final|mutable|volatile|try|&&?)\s*)*(->.*|requires\b.*)?$", re.DOTALL)
MEMBER_INIT = re.compile(r"\(\s*\)\s*(noexcept(\s*\(\s*\))?)?\s*(?<!:):(?!:).*[\w>]\s*$", re.DOTALL)


@dataclass(frozen=True)
class Function:
    name: str
    first_line: int
    last_line: int
    start: int  # offset of the body's brace
    end: int

    @property
    def lines(self):
        return self.last_line - self.first_line + 1


def without_directives(code):
    """Preprocessor lines, continuations included, blanked."""
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), code, flags=re.MULTILINE)


def hollow(header):
    """The header with the insides of its parentheses, template parameters and attributes left out."""
    out, depth = [], 0
    for char in re.sub(r"\[\[.*?\]\]", "", header, flags=re.DOTALL):
        if char == ")":
            depth -= 1
        if depth == 0:
            out.append(char)
        if char == "(":
            depth += 1
    text = "".join(out)
    while True:
        match = re.search(r"\btemplate\s*<", text)
        if not match:
            return text.strip()
        text = text[:match.start()] + text[matching(text, match.end() - 1, "<", ">"):]


def kind_of(header):
    """What a brace after this header, at namespace or class level, opens: scope, function, or value (skipped)."""
    text = re.sub(r"^(\s*(public|private|protected)\s*:(?!:))+", "", header)
    bare = hollow(text)
    if re.search(r"\bnamespace\b", bare) or re.search(r'\bextern\s*"\s*"\s*$', bare):
        return "scope"
    if re.search(r"\brequires\s*(\(\s*\))?\s*$", bare) or MEMBER_INIT.search(bare):
        return "value"
    if "(" not in bare.replace("alignas()", ""):
        return "scope" if NOT_A_TYPE.search(bare) and "=" not in bare else "value"
    return "function" if TRAILER.search(bare) else "value"


def name_of(header):
    text = re.sub(r"\[\[.*?\]\]", "", header, flags=re.DOTALL)
    test = re.search(r"\b(TEST|TEST_F|TEST_P|TYPED_TEST|RC_GTEST_PROP|RC_GTEST_FIXTURE_PROP|BENCHMARK\w*)\s*\(\s*(\w+)\s*,\s*(\w+)", text)
    if test:
        return f"{test.group(2)}.{test.group(3)}"
    operator = re.search(r"(\w+::)*operator\s*[^\s\w(]*(\(\))?", text)
    if operator:
        return re.sub(r"\s+", "", operator.group(0))
    plain = re.search(r"([~\w]+(?:::[~\w]+)*)\s*\(", text)
    return plain.group(1) if plain else "lambda"


def functions(source):
    """Functions defined at namespace or class level, in order."""
    code = without_directives(source.code)
    out, at, start = [], 0, 0
    while at < len(code):
        char = code[at]
        if char == "(":
            at = matching(code, at, "(", ")")
            continue
        if char in ";}":
            start = at + 1
        elif char == "{":
            header = code[start:at]
            kind = kind_of(header)
            if kind == "scope":
                start = at + 1
            else:
                end = matching(code, at, "{", "}")
                if kind == "function":
                    skipped = re.match(r"\s*((public|private|protected)\s*:(?!:)\s*)*", header).end()
                    first = source.line_of(start + skipped)
                    out.append(Function(name_of(header), first, source.line_of(end - 1), at, end))
                    start = end
                at = end
                continue
        at += 1
    return out
