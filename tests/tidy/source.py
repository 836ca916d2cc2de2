"""The tree as the house rules see it: files by path, each with its text and its code (comments and literals blanked)."""
import os
import re
from dataclasses import dataclass
from functools import cached_property

FOLDERS = ("src", "tests", "bench", "fuzz")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
LITERALS = re.compile(
    r"""//[^\n]*|/\*.*?\*/"""
    r"""|(?:u8|[uUL])?R"(?P<delimiter>[^\s()\\]{0,16})\(.*?\)(?P=delimiter)\""""
    r"""|"(?:[^"\\\n]|\\.)*"|(?<![0-9a-fA-F])'(?:[^'\\\n]|\\.)+'""",
    re.DOTALL,
)


@dataclass(frozen=True, order=True)
class Problem:
    path: str
    line: int
    rule: str
    text: str

    def __str__(self):
        return f"{self.path}:{self.line}: [{self.rule}] {self.text}"


def blank(text):
    """The text with every comment and literal replaced by spaces, so that offsets and line numbers stay."""

    def spaces(match):
        kept = re.sub(r"[^\n]", " ", match.group(0))
        return '"' + kept[1:-1] + '"' if match.group(0).endswith('"') and len(kept) > 1 else kept

    return LITERALS.sub(spaces, text)


@dataclass(frozen=True)
class Source:
    path: str
    text: str

    @cached_property
    def lines(self):
        return self.text.split("\n")

    @cached_property
    def code(self):
        return blank(self.text)

    @cached_property
    def code_lines(self):
        return self.code.split("\n")

    @property
    def is_cpp(self):
        return self.path.endswith((".h", ".cc"))

    @property
    def is_header(self):
        return self.path.endswith(".h")

    @property
    def is_test(self):
        """Tests and what only tests link."""
        return bool(re.search(r"_(test|testing)\.(h|cc)$", self.path)) or not self.path.startswith("src/")

    @property
    def folder(self):
        """The room of the house: `mesh` for src/mesh/map.h; None outside src/."""
        parts = self.path.split("/")
        return parts[1] if parts[0] == "src" and len(parts) > 2 else None

    @cached_property
    def includes(self):
        """(line, quoted, name) of each include directive."""
        out = []
        for number, line in enumerate(self.lines, 1):
            match = INCLUDE.match(line)
            if match and self.code_lines[number - 1].lstrip().startswith("#"):
                out.append((number, match.group(1) == '"', match.group(2)))
        return out

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def has_note(self, line, word):
        """Whether the line, or the comment right above it, says `// word: reason`."""
        note = re.compile(rf"//.*\b{word}: *\S")
        if note.search(self.lines[line - 1]):
            return True
        above = line - 2
        while above >= 0 and self.lines[above].lstrip().startswith("//"):
            if note.search(self.lines[above]):
                return True
            above -= 1
        return False

    def problem(self, line, rule, text):
        return Problem(self.path, line, rule, text)


class Tree:
    """Files by path relative to the root. `Tree({...})` makes one in memory, for tests of the rules."""

    def __init__(self, files):
        self.files = {path: Source(path, text) for path, text in sorted(files.items())}

    @classmethod
    def load(cls, root):
        files = {}
        for folder, folders, names in os.walk(root):
            relative = os.path.relpath(folder, root)
            folders[:] = [f for f in folders if f not in (".git", "build", ".cache", "__pycache__", "node_modules")]
            for name in names:
                path = os.path.normpath(os.path.join(relative, name))
                text = read_text(os.path.join(folder, name))
                if text is not None:
                    files[path] = text
        return cls(files)

    def cpp(self):
        return [f for f in self.files.values() if f.is_cpp and f.path.split("/")[0] in FOLDERS]

    def product(self):
        """C++ of src/ that ships."""
        return [f for f in self.cpp() if not f.is_test]


def read_text(path):
    """The file's text; None if it is binary, a link or gone."""
    try:
        if os.path.islink(path):
            return None
        with open(path, "rb") as file:
            return file.read().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def matching(code, start, opening, closing):
    """Offset after the bracket that closes the one at `start`; the end of the code if none does."""
    depth = 0
    for offset in range(start, len(code)):
        if code[offset] == opening:
            depth += 1
        elif code[offset] == closing:
            depth -= 1
            if depth == 0:
                return offset + 1
    return len(code)
