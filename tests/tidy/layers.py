"""Arrows go down only: what a folder may include is what its CMakeLists.txt names, and that is only ever below it."""
import re

ORDER = ("base rt os sim wire device ec mesh raft catalog chunk heal stream volume table object predict gateway node "
         "app").split()
WORLDS = {"os", "sim"}
CALL = re.compile(r"\bcorelet_(library|binary)\s*\(([^()]*)\)", re.DOTALL)
KEYWORDS = {"DEPS", "LIBS", "TEST_DEPS", "PROTOS", "SOURCES"}


class Library:
    """What one CMakeLists.txt under src/ names, over all its targets."""

    def __init__(self, source):
        self.path = source.path
        self.folder = source.path[len("src/"):-len("/CMakeLists.txt")]
        self.names, self.deps, self.test_deps = set(), set(), set()
        text = re.sub(r"#[^\n]*", "", source.text)
        for _, arguments in CALL.findall(text):
            words = arguments.split()
            self.names.add(words[0])
            keyword = None
            for word in words[1:]:
                if word in KEYWORDS:
                    keyword = word
                elif keyword == "DEPS":
                    self.deps.add(word)
                elif keyword == "TEST_DEPS":
                    self.test_deps.add(word)


def level(folder):
    """Height in the house; os and sim stand side by side."""
    room = folder.split("/")[0]
    if room not in ORDER:
        return None
    return ORDER.index("os" if room in WORLDS else room)


class House:
    def __init__(self, tree):
        cmake = re.compile(r"src/[^/]+(/[^/]+)*/CMakeLists\.txt")
        self.libraries = {}
        for source in tree.files.values():
            if cmake.fullmatch(source.path):
                library = Library(source)
                self.libraries[library.folder] = library

    def home(self, path):
        """The library that a path below src/ belongs to."""
        folder = path.rpartition("/")[0]
        while folder and folder not in self.libraries:
            folder = folder.rpartition("/")[0]
        return folder or None

    def reach(self, folders):
        """The folders and all that they lead to."""
        seen, todo = set(), list(folders)
        while todo:
            folder = todo.pop()
            if folder in seen:
                continue
            seen.add(folder)
            if folder in self.libraries:
                todo.extend(self.libraries[folder].deps)
        return seen


def check_arrow(library, dep, for_tests):
    """Why `library` may not name `dep`, or None."""
    room, target = library.folder.split("/")[0], dep.split("/")[0]
    if level(room) is None:
        return f"folder '{room}' has no place in the order of the house (tests/tidy/layers.py)"
    if level(target) is None:
        return f"there is no folder '{target}' in the order of the house (tests/tidy/layers.py)"
    if {room, target} == WORLDS:
        return "os and sim never see each other"
    if target in WORLDS:
        if for_tests or room == "app":
            return None
        return f"'{target}' is named by app and by tests only: the product takes the interfaces of rt"
    if room != target and level(target) >= level(room):
        return f"'{target}' is not below '{room}': arrows go down only"
    return None


def check_cmake(house, library, source):
    for deps, for_tests in ((library.deps, False), (library.test_deps, True)):
        for dep in sorted(deps):
            why = check_arrow(library, dep, for_tests)
            if why is None and dep not in house.libraries:
                why = f"'{dep}' has no src/{dep}/CMakeLists.txt"
            if why:
                yield source.problem(1, "arrows", why)


def check_includes(house, source):
    inner = source.path[len("src/"):]
    home = house.home(inner)
    if home is None:
        yield source.problem(1, "arrows", "no CMakeLists.txt above this file names its library")
        return
    library = house.libraries[home]
    allowed = house.reach(library.deps | (library.test_deps if source.is_test else set())) | {home}
    for line, quoted, name in source.includes:
        if not quoted:
            continue
        target = house.home(name)
        if target is None:
            yield source.problem(line, "arrows", f'"{name}": spell our own headers from src/ on, as "folder/file.h"')
        elif target not in allowed:
            yield source.problem(line, "arrows", f"{home}/CMakeLists.txt does not name '{target}' among its DEPS")


def check(tree):
    house = House(tree)
    for folder, library in house.libraries.items():
        yield from check_cmake(house, library, tree.files[library.path])
    for source in tree.cpp():
        if source.folder is not None:
            yield from check_includes(house, source)
