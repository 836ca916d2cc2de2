"""A file says itself what it needs: a header what cmake/pch.h would bring, and both header and source what another file of their
batch (CORELET_BATCHES) would. So each can be read, included and compiled alone; preset debug does the last.
"""
import re

# Where the names are defined that those headers are included for; what comes with nearly all of them is left out.
HOMES = {
    "algorithm": r"(?:ranges::)?(?:sort|stable_sort|min|max|clamp|find|find_if|any_of|all_of|none_of|count_if|copy|fill|lower_bound"
                 r"|upper_bound|binary_search|min_element|max_element|equal|remove_if|rotate|reverse)\b",
    "array": r"array\b",
    "bit": r"(?:bit_cast|bit_width|bit_ceil|bit_floor|popcount|countr_zero|countr_one|countl_zero|has_single_bit|endian|byteswap)\b",
    "coroutine": r"(?:coroutine_handle|suspend_always|suspend_never|noop_coroutine|coroutine_traits)\b",
    "cstring": r"(?:memcpy|memcmp|memset|memmove|strlen|strcmp)\b",
    "deque": r"deque\b",
    "expected": r"(?:expected|unexpected|unexpect)\b",
    "functional": r"(?:function|move_only_function|less|greater|bind_front|reference_wrapper)\b",
    "map": r"(?:map|multimap)\b",
    "memory": r"(?:unique_ptr|shared_ptr|weak_ptr|make_unique|make_shared|enable_shared_from_this|addressof|construct_at)\b",
    "optional": r"(?:optional|nullopt)\b",
    "set": r"(?:set|multiset)\b",
    "span": r"(?:span|as_bytes|as_writable_bytes)\b",
    "string": r"(?:string|to_string)\b",
    "string_view": r"string_view\b",
    "tuple": r"(?:tuple|tie|make_tuple|forward_as_tuple)\b",
    "unordered_map": r"unordered_map\b",
    "vector": r"vector\b",
}
USES = {home: re.compile(r"\bstd::" + names) for home, names in HOMES.items()}
# A library header that has to define what the other one is for.
BRINGS = {"string": {"string_view"}, "algorithm": set(), "fmt/format.h": {"string", "string_view"},
          "gtest/gtest.h": {"string", "vector", "memory", "map", "set", "tuple", "functional", "string_view"}}


# What a header of ours declares in the first column, where the formatter puts namespace scope.
DECLARED = re.compile(r"^(?:class|struct|union|enum(?: class)?)\s+(?:\[\[\w+\]\]\s*)?(\w+)[^;{]*\{|^using (\w+) =|^#define (\w+)", re.MULTILINE)
AHEAD = re.compile(r"\b(?:class|struct|enum class)\s+(\w+)(?:\s*:\s*\w+)?;")
# And what anybody declares anywhere: a type, an alias, a parameter of a template, a test's suite, an enumerator.
NAMED = re.compile(r"\b(?:class|struct|union|enum class|enum|using|concept|typename) +(\w+)\b(?! *;)|^ +([A-Z]\w+),?$|^TEST\w*\((\w+), (\w+)",
                   re.MULTILINE)
WORD = re.compile(r"(?<![.:>\w])[A-Z]\w+")


class Reach:
    """Which files each one includes, itself or by way of our own headers; and of the library, which headers."""

    def __init__(self, tree):
        self.tree = tree
        self.known = {}

    def of(self, source):
        """(our files, library headers)"""
        if source.path in self.known:
            return self.known[source.path]
        own, library = {source.path}, set()
        self.known[source.path] = (own, library)
        for _, quoted, name in source.includes:
            beside = source.path.rpartition("/")[0] + "/" + name
            inner = quoted and next((self.tree.files[p] for p in ("src/" + name, name, beside) if p in self.tree.files), None)
            if inner:
                files, headers = self.of(inner)
                own |= files
                library |= headers
            elif not quoted:
                library |= {name} | BRINGS.get(name, set())
        return own, library


def homes(tree):
    """The header of each name that it alone declares, and nobody inside of something else."""
    out, elsewhere = {}, set()
    for source in tree.cpp():
        found = {next(filter(None, match.groups())) for match in DECLARED.finditer(source.code)} if source.is_header else set()
        for name in found:
            out.setdefault(name, []).append(source.path)
        elsewhere |= {name for names in NAMED.findall(source.code) for name in names} - found
    return {name: paths[0] for name, paths in out.items() if len(paths) == 1 and name not in elsewhere}


def check_own(source, own, declared, ahead):
    """The first name in the file that no file it includes declares, even ahead."""
    known = set().union(*(ahead[path] for path in own))
    for match in WORD.finditer(source.code):
        home = declared.get(match.group(0))
        if home is not None and home not in own and match.group(0) not in known:
            yield source.problem(source.line_of(match.start()), "includes", f"{match.group(0)} without {home}")
            return


def check(tree):
    reach = Reach(tree)
    declared = homes(tree)
    ahead = {source.path: set(AHEAD.findall(source.code)) for source in tree.cpp()}
    for source in tree.cpp():
        own, library = reach.of(source)
        yield from check_own(source, own & ahead.keys(), declared, ahead)
        if not source.is_header or source.path == "cmake/pch.h":
            continue
        for home in sorted(HOMES.keys() - library):
            match = USES[home].search(source.code)
            if match:
                yield source.problem(source.line_of(match.start()), "includes",
                                     f"{match.group(0)} without <{home}>, which only the precompiled header brings")
