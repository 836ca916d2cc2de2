#!/usr/bin/env python3
"""Each rule is shown able to fail, on an example that breaks it alone, and to let the like of it pass."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import frozen
import functions
import sizes
import source
import tidy
from source import Source, Tree

CMAKE = {
    "src/base/CMakeLists.txt": "corelet_library(base LIBS fmt)\n",
    "src/rt/CMakeLists.txt": "corelet_library(rt DEPS base)\n",
    "src/os/CMakeLists.txt": "corelet_library(os DEPS base rt)\n",
    "src/sim/CMakeLists.txt": "corelet_library(sim DEPS rt)\n",
    "src/wire/CMakeLists.txt": "corelet_library(wire DEPS rt  # and so base\n  LIBS z TEST_DEPS sim PROTOS wire.proto)\n",
    "src/mesh/CMakeLists.txt": "corelet_library(mesh DEPS base)\n",
}


def rules(files, house=True):
    """The rules broken, each with its file and line."""
    tree = Tree({**(CMAKE if house else {}), **files})
    return [f"{p.rule} {p.path.rpartition('/')[2]}:{p.line}" for p in tidy.problems(tree)]


def product(code, path="src/wire/a.cc"):
    return rules({path: code})


class Includes(unittest.TestCase):
    def header(self, code, **others):
        return rules({"src/wire/a.h": "#pragma once\n" + code, **{f"src/wire/{k}.h": v for k, v in others.items()}})

    def test_a_header_that_leans_on_the_precompiled_one_fails(self):
        self.assertEqual(self.header("\nstd::vector<int> f();\n"), ["includes a.h:3"])
        self.assertEqual(self.header("#include <string>\nstd::string f(std::optional<int> x);\n"), ["includes a.h:3"])

    def test_naming_it_or_including_who_does_passes(self):
        self.assertEqual(self.header("#include <vector>\nstd::vector<int> f();\n"), [])
        self.assertEqual(self.header('#include "wire/b.h"\nstd::vector<int> f();\n', b="#pragma once\n#include <vector>\n"), [])

    def test_what_another_brings_by_definition_passes(self):
        self.assertEqual(self.header("#include <string>\nstd::string f(std::string_view x);\n"), [])

    def test_a_name_of_ours_whose_header_is_not_included_fails(self):
        b = "#pragma once\nclass Boat {\n};\n"
        self.assertEqual(self.header("\nvoid f(Boat* b);\n", b=b), ["includes a.h:3"])
        self.assertEqual(rules({"src/wire/a.cc": "void f(Boat* b) {}\n", "src/wire/b.h": b}), ["includes a.cc:1"])

    def test_including_it_declaring_it_ahead_or_one_s_own_passes(self):
        b = "#pragma once\nclass Boat {\n};\n"
        self.assertEqual(self.header('#include "wire/b.h"\nvoid f(Boat* b);\n', b=b), [])
        self.assertEqual(self.header("class Boat;\nvoid f(Boat* b);\n", b=b), [])
        self.assertEqual(self.header("struct Sea {\n    enum class Boat { kOne };\n    Boat boat;\n};\n", b=b), [])

    def test_library_headers_in_sources_and_comments_are_not_asked_for(self):
        self.assertEqual(product("std::vector<int> f();\n"), [])
        self.assertEqual(self.header("// std::vector is for others\n"), [])


class Arrows(unittest.TestCase):
    def test_down_and_transitive_pass(self):
        self.assertEqual(product('#include "rt/task.h"\n#include "base/bytes.h"\n#include "wire/wire.pb.h"\n'), [])

    def test_up_fails(self):
        self.assertEqual(rules({"src/rt/a.cc": '#include "wire/frame.h"\n'}), ["arrows a.cc:1"])

    def test_unnamed_lower_folder_fails(self):
        self.assertEqual(rules({"src/mesh/a.cc": '\n#include "rt/task.h"\n'}), ["arrows a.cc:2"])

    def test_product_must_not_see_a_world_but_its_tests_may(self):
        self.assertEqual(rules({"src/wire/a.cc": '#include "sim/world.h"\n'}), ["arrows a.cc:1"])
        self.assertEqual(rules({"src/wire/a_test.cc": '#include "sim/world.h"\n'}), [])
        self.assertEqual(rules({"src/wire/a_testing.h": '#pragma once\n#include "sim/world.h"\n'}), [])

    def test_named_dep_that_points_up_fails(self):
        self.assertEqual(rules({"src/ec/CMakeLists.txt": "corelet_library(ec DEPS mesh)\n"}), ["arrows CMakeLists.txt:1"])

    def test_worlds_never_see_each_other_even_in_tests(self):
        self.assertEqual(rules({"src/os/CMakeLists.txt": "corelet_library(os DEPS rt TEST_DEPS sim)\n"}),
                         ["arrows CMakeLists.txt:1"])
        self.assertEqual(rules({"src/sim/CMakeLists.txt": "corelet_library(sim DEPS rt os)\n"}), ["arrows CMakeLists.txt:1"])

    def test_product_naming_a_world_fails_but_app_may(self):
        self.assertEqual(rules({"src/ec/CMakeLists.txt": "corelet_library(ec DEPS os)\n"}), ["arrows CMakeLists.txt:1"])
        self.assertEqual(rules({"src/app/CMakeLists.txt": "corelet_binary(corelet SOURCES main.cc DEPS os sim)\n",
                                "src/app/main.cc": '#include "os/loop.h"\n'}), [])

    def test_unknown_dep_or_folder_fails(self):
        self.assertEqual(rules({"src/ec/CMakeLists.txt": "corelet_library(ec DEPS bass)\n"}), ["arrows CMakeLists.txt:1"])
        self.assertEqual(rules({"src/utils/CMakeLists.txt": "corelet_library(utils DEPS base)\n"}), ["arrows CMakeLists.txt:1"])
        self.assertEqual(rules({"src/ec/a.cc": ""}), ["arrows a.cc:1"])

    def test_subfolder_with_its_own_library(self):
        nested = {"src/gateway/nbd/CMakeLists.txt": "corelet_library(gateway/nbd DEPS wire)\n",
                  "src/node/CMakeLists.txt": "corelet_library(node DEPS gateway/nbd)\n",
                  "src/gateway/nbd/a.cc": '#include "gateway/nbd/a.h"\n#include "base/b.h"\n'}
        self.assertEqual(rules({**nested, "src/node/a.cc": '#include "gateway/nbd/a.h"\n'}), [])
        self.assertEqual(rules({**nested, "src/wire/a.cc": '#include "gateway/nbd/a.h"\n'}), ["arrows a.cc:1"])

    def test_relative_include_fails(self):
        self.assertEqual(product('#include "frame.h"\n'), ["arrows a.cc:1"])

    def test_include_in_a_comment_passes(self):
        self.assertEqual(product('/*\n#include "volume/x.h"\n*/\n// #include "volume/x.h"\n'), [])


class OsHeaders(unittest.TestCase):
    def test_each_kind_fails_above_os(self):
        for name in ("unistd.h", "sys/socket.h", "fcntl.h", "netinet/in.h", "liburing.h", "pthread.h", "thread", "mutex",
                     "signal.h", "csignal", "chrono", "random", "filesystem", "fstream", "linux/fs.h"):
            self.assertEqual(product(f"#include <{name}>\n"), ["os-header a.cc:1"], name)
            self.assertEqual(rules({"src/rt/a.cc": f"#include <{name}>\n"}), ["os-header a.cc:1"], name)

    def test_os_and_plain_headers_pass(self):
        self.assertEqual(rules({"src/os/a.cc": "#include <sys/socket.h>\n#include <thread>\n"}), [])
        self.assertEqual(product("#include <vector>\n#include <isa-l/crc.h>\n#include <fmt/format.h>\n"), [])

    def test_note_counts_in_app_and_tests_only(self):
        line = "#include <unistd.h>  // host: the child of the kill loop\n"
        self.assertEqual(product(line), ["os-header a.cc:1"])
        self.assertEqual(product(line, "src/wire/a_test.cc"), [])
        self.assertEqual(product("#include <unistd.h>\n", "src/wire/a_test.cc"), ["os-header a_test.cc:1"])
        self.assertEqual(product("#include <unistd.h>  // host:\n", "src/wire/a_test.cc"), ["os-header a_test.cc:1"])


class Banned(unittest.TestCase):
    BAD = ("auto t = std::chrono::steady_clock::now();", "auto t = time(nullptr);", "auto t = ::time(&x);", "gettimeofday(&tv, 0);",
           "clock_gettime(CLOCK_MONOTONIC, &ts);", "std::random_device d;", "std::mt19937_64 g(1);", "int x = rand();",
           "std::shuffle(a, b, g);", "std::ranges::shuffle(a, g);", "std::sample(a, b, c, 1, g);", "auto f = std::async(h);",
           "std::uniform_int_distribution<int> d;", "std::jthread t(f);", "std::thread t(f);", "usleep(10);", "sleep(1);", "::sleep(n);",
           "std::this_thread::yield();", "auto h = std::hash<u64>{}(x);", "thread_local int x = 0;", "auto p = getpid();",
           "auto e = std::getenv(name);", "getrandom(p, 8, 0);", "if (setjmp(env)) return;")
    GOOD = ("co_await clock.sleep(10);", "co_await sleep(duration);", "auto t = env.clock().now();", "auto t = timer.time();",
            "u64 rand = rng.below(6);", "auto c = rng.fork(name);", "request.kill(3);", "u64 time(Clock& clock);", "// std::thread",
            'auto s = "std::thread";', "u64 h = hash64(x);", "std::lower_bound(a, b, x);", "auto x = lifetime(nullptr);",
            "co_await rt::sleep(1);", "int operand(int);")

    def test_bad(self):
        for line in self.BAD:
            self.assertEqual(product(f"void f() {{\n{line}\n}}\n"), ["banned a.cc:2"], line)
            self.assertEqual(rules({"src/os/a.cc": f"void f() {{\n{line}\n}}\n"}), [], line)

    def test_good(self):
        for line in self.GOOD:
            self.assertEqual(product(f"void f() {{\n{line}\n}}\n"), [], line)

    def test_rooms_with_a_right_of_their_own(self):
        self.assertEqual(rules({"src/rt/a.cc": "thread_local int x = 0;\n"}), [])
        self.assertEqual(rules({"src/base/a.cc": "thread_local int x = 0;  // global: kept memory\n"}), [])
        self.assertEqual(rules({"src/base/a.h": "#pragma once\nstruct std::hash<Id>;\n"}), [])

    def test_notes(self):
        self.assertEqual(product("void f() {\n    // lookup-only: never leaves this map\n    use(std::hash<u64>{});\n}\n"), [])
        self.assertEqual(product("void f() {\n    sleep(1);  // host: no\n}\n"), ["banned a.cc:2"])
        self.assertEqual(product("void f() {\n    sleep(1);  // host: a child process\n}\n", "src/wire/a_test.cc"), [])


class CoroutineLambdas(unittest.TestCase):
    def test_capturing_coroutine_fails(self):
        for capture in ("this", "&", "=", "x = std::move(x)", "&done, n"):
            self.assertEqual(product(f"void f() {{\n    g([{capture}](int a) -> Task<void> {{\n        co_await h(a);\n    }});\n}}\n"),
                             ["coroutine a.cc:2"], capture)
        self.assertEqual(product("const auto f = [&]() -> Task<Result<int>> { co_return 1; };\n"), ["coroutine a.cc:1"])
        self.assertEqual(product("void f() {\n    return [this] -> Detached { co_await x; };\n}\n"), ["coroutine a.cc:2"])

    def test_others_pass(self):
        self.assertEqual(product("const auto f = [](int n) -> Task<void> { co_await g(n); };\n"), [])
        self.assertEqual(product("const auto f = [&](int n) -> Task<void> { return g(n); };\n"), [])
        self.assertEqual(product("Task<void> f() {\n    auto g = [&](int n) { return n; };\n    co_await h(g, a[i]);\n}\n"), [])
        self.assertEqual(product("const auto f = [&] {\n    spawn([](int n) -> Task<void> { co_await g(n); }(1));\n};\n"), [])


class Order(unittest.TestCase):
    HEADER = {"src/wire/b.h": "#pragma once\n#include <unordered_map>\n#include <vector>\n",
              "src/wire/a.h": "#pragma once\n#include \"wire/b.h\"\nclass A {\n    std::unordered_map<u64, std::vector<int>> peers_;\n};\n"}

    def test_range_for_in_the_pair_fails(self):
        for loop in ("for (auto& [id, peer] : peers_) f(id);", "for (auto& p : this->peers_) f(p);", "f(peers_.begin());",
                     "for (int i = 0; auto& p : peers_) f(p);"):
            self.assertEqual(rules({**self.HEADER, "src/wire/a.cc": f"void A::g() {{\n    {loop}\n}}\n"}), ["order a.cc:2"], loop)

    def test_alias_accessor_and_other_header_fail(self):
        alias = "using Index = std::unordered_map<u64, u64>;\nvoid f(const Index& index) {\n    for (auto& e : index) g(e);\n}\n"
        self.assertEqual(product(alias), ["order a.cc:3"])
        state = "#pragma once\nstruct State {\n    const std::unordered_set<u64>& ids() const;\n};\n"
        self.assertEqual(rules({"src/wire/state.h": state,
                                "src/wire/b.cc": '#include "wire/state.h"\nvoid f(State s) {\n    for (u64 i : s.ids()) g(i);\n}\n'}),
                         ["order b.cc:3"])

    def test_private_name_of_another_class_passes(self):
        self.assertEqual(rules({**self.HEADER, "src/wire/b.cc": '#include "wire/a.h"\nvoid B::g() {\n    for (int p : peers_) f(p);\n}\n'}), [])

    def test_note_lookup_and_ordered_pass(self):
        for body in ("for (auto& p : peers_) n += p.second;  // order-free: a sum", "// order-free: a sum\n    for (auto& p : peers_) f(p);",
                     "if (peers_.find(1) != peers_.end()) f();", "for (auto& p : peers) f(p);", "for (u64 i = 0; i < 3; ++i) f(i);"):
            self.assertEqual(rules({**self.HEADER, "src/wire/a.cc": f"void A::g() {{\n    {body}\n}}\n"}), [], body)

    def test_note_without_reason_fails(self):
        self.assertEqual(rules({**self.HEADER, "src/wire/a.cc": "void A::g() {\n    for (auto& p : peers_) f(p);  // order-free:\n}\n"}),
                         ["order a.cc:2"])


class State(unittest.TestCase):
    def test_mutable_state_fails(self):
        for line in ("int counter = 0;", "static std::map<int, int> cache;", "inline std::atomic<u64> next{1};", "Foo* current;"):
            self.assertEqual(product(f"namespace x {{\n{line}\n}}\n"), ["state a.cc:2"], line)
        for member in ("static inline int n = 0;", "static u64 n_;", "inline static std::vector<int> all{};"):
            self.assertEqual(product(f"class A {{\n    {member}\n}};\n"), ["state a.cc:2"], member)
        self.assertEqual(product("int f() {\n    static int n = 0;\n    return ++n;\n}\n"), ["state a.cc:2"])

    def test_constants_types_and_notes_pass(self):
        for member in ("static constexpr int k_n = 0;", "static A make(int n);", "static inline const int k = 1;"):
            self.assertEqual(product(f"class A {{\n    {member}\n}};\n"), [], member)
        for line in ("constexpr int k_x = 1;", "inline constexpr std::array<int, 2> k_a{1, 2};", "const char* const k_name = \"\";",
                     "static const std::string k_s = \"\";", "class A;", "struct B;", "using X = int;", "template <class T> class C;",
                     "int f(int a);", "extern template class D<int>;", "static_assert(sizeof(int) == 4);",
                     "int counter = 0;  // global: counts frames of the whole process"):
            self.assertEqual(product(f"namespace x {{\n{line}\n}}\n"), [], line)
        self.assertEqual(product("int f() {\n    static constexpr int k = 1;\n    int local = 2;\n    return static_cast<int>(k);\n}\n"), [])


def body(lines, head="void f() {"):
    return head + "\n" + "    g();\n" * (lines - 2) + "}\n"


class Sizes(unittest.TestCase):
    LIMIT = sizes.FUNCTION_LINES_MAX

    def test_long_file_and_function_fail(self):
        self.assertEqual(product("// x\n" * 501), ["size a.cc:1"])
        self.assertEqual(product("// x\n" * 500), [])
        self.assertEqual(product("int a();\n" + body(self.LIMIT + 1)), ["size a.cc:2"])
        self.assertEqual(product(body(self.LIMIT)), [])

    def test_ratchet_holds_shrinks_and_empties(self):
        long = body(80)
        for listed, expected in ((80, []), (79, ["size a.cc:1"]), (81, ["size ratchet.txt:1"])):
            self.assertEqual(rules({"src/wire/a.cc": long, sizes.RATCHET: f"src/wire/a.cc:f {listed}\n"}), expected)
        self.assertEqual(rules({"src/wire/a.cc": body(9), sizes.RATCHET: "# x\nsrc/wire/a.cc:f 80\n"}), ["size ratchet.txt:2"])

    def test_lowering_never_raises_or_adds(self):
        tree = Tree({"src/a.cc": body(90, "void grown() {") + body(75, "void shrunk() {") + body(99, "void unlisted() {"),
                     sizes.RATCHET: "src/a.cc:grown 80\nsrc/a.cc:shrunk 80\nsrc/a.cc:gone 80\n"})
        kept = [line for line in sizes.lowered(tree).split("\n") if line and not line.startswith("#")]
        self.assertEqual(kept, ["src/a.cc:grown 80", "src/a.cc:shrunk 75"])


class Functions(unittest.TestCase):
    def found(self, code):
        return [(f.name, f.first_line, f.last_line) for f in functions.functions(Source("src/a.cc", code))]

    def test_shapes(self):
        code = """#include <x>
#define WEIRD(a) { a
namespace corelet::detail {
template <class T>
    requires requires { typename T::rep; }
[[nodiscard]] T get() {
    if (x) { y(); }
}
class A : public B {
  public:
    explicit A(int n) : n_{n}, m_(f({1, 2})) {
    }
    std::function<void()> hook_{};
    int v_ = 3;
    int n() const noexcept { return n_; }
    friend bool operator==(const A&, const A&) = default;
    A& operator+=(A o) {
        return *this;
    }
  private:
    enum class Kind : u8 { a, b };
    struct Inner { int x() { return 1; } };
};
static const std::array<int, 2> k_table = {1, 2};
auto A::find(Key k) const -> std::optional<int> {
    char c = '{'; u64 big = 1'000'000; const char* raw = R"({{{)";
}
TEST(Suite, Case) {
    auto l = [&](int i) { return i; };
}
extern "C" int entry(const u8* data, usize size) {
    return 0;
}
}  // namespace
"""
        self.assertEqual(self.found(code), [("get", 4, 8), ("A", 11, 12), ("n", 15, 15), ("operator+=", 17, 19), ("x", 22, 22),
                                            ("A::find", 25, 27), ("Suite.Case", 28, 30), ("entry", 31, 33)])


class Words(unittest.TestCase):
    def test_words_in_any_file(self):
        for word in ("Cla" + "ude", "AI " + "session", "assis" + "tant", "des" + "ign.md", "deb.deb" + "ian.org"):
            self.assertEqual(rules({"docs/a.md": f"one\ntwo {word} three\n"}), ["words a.md:2"], word)
        self.assertEqual(rules({"docs/a.md": "a session of a corelet; the design; docs/protocols.md; assistance\n"}), [])


class Numbers(unittest.TestCase):
    PROTO = 'syntax = "proto3";\npackage p;\nmessage M {\n  message I { uint64 a = 1; }  // b = 9;\n  repeated I list = 2;\n  oneof x { bool y = 3; }\n}\n'
    LIST = "p.M 2 list repeated I\np.M 3 y bool\np.M.I 1 a uint64\n"

    def found(self, proto=PROTO, known=LIST, **more):
        return rules({"src/wire/a.proto": proto, frozen.LIST: known, **more})

    def test_what_is_listed_passes(self):
        self.assertEqual(self.found(), [])
        tree = Tree({"src/wire/a.proto": self.PROTO})
        self.assertEqual(frozen.extended(tree), frozen.HEADING + self.LIST)

    def test_another_type_number_or_meaning_fails(self):
        self.assertEqual(self.found(self.PROTO.replace("uint64 a", "fixed64 a")), ["numbers a.proto:4"])
        self.assertEqual(self.found(self.PROTO.replace("list", "other")), ["numbers a.proto:5"])
        self.assertEqual(self.found(self.PROTO.replace("= 3", "= 4")), ["numbers a.proto:6", "numbers numbers.txt:2"])

    def test_new_ones_are_to_be_listed_and_the_list_only_grows(self):
        more = self.PROTO.replace("  oneof", "  bytes z = 7;\n  oneof")
        self.assertEqual(self.found(more), ["numbers a.proto:6"])
        tree = Tree({"src/wire/a.proto": self.PROTO, frozen.LIST: self.LIST + "p.M 1 former bool\n"})
        self.assertIn("p.M 1 former bool\n", frozen.extended(tree))

    def test_a_retired_field_is_reserved(self):
        retired = self.PROTO.replace("repeated I list = 2", "reserved 2")
        self.assertEqual(self.found(retired), [])
        self.assertEqual(self.found(self.PROTO.replace("repeated I list = 2", "")), ["numbers numbers.txt:1"])
        both = retired.replace("reserved 2;", "reserved 2; bytes list = 2;")
        self.assertEqual(self.found(both), ["numbers a.proto:5", "numbers a.proto:5"])

    def test_methods_and_codes(self):
        header = "#pragma once\nnamespace c::a_method {\ninline constexpr Method k_x{0x0301};\n}\n"
        known = self.LIST + "method 0x0301 a_method::k_x call\n"
        self.assertEqual(self.found(known=known, **{"src/wire/a.h": header}), [])
        twice = header.replace("}\n", "inline constexpr Method k_y{0x0301};\n}\n")
        self.assertIn("numbers a.h:4", self.found(known=known, **{"src/wire/a.h": twice}))
        codes = "#pragma once\nenum class Code : u16 {\n    kIo = 1,  // x\n};\n"
        self.assertEqual(self.found(**{"src/wire/a.h": codes}), ["numbers a.h:3"])


class Pragma(unittest.TestCase):
    def test_header_without_it_fails(self):
        self.assertEqual(product("int f();\n", "src/wire/a.h"), ["pragma a.h:1"])


class Reading(unittest.TestCase):
    def test_blank_keeps_lines_and_offsets(self):
        code = 'a("x//y"); // c\n/* d\n*/ f(\'"\', 1\'000, R"q(\n")q");\n'
        self.assertEqual(source.blank(code).count("\n"), code.count("\n"))
        self.assertEqual(len(source.blank(code)), len(code))
        self.assertNotIn("y", source.blank(code))
        self.assertIn("1'000", source.blank(code))

    def test_load_skips_builds_and_binaries(self):
        with tempfile.TemporaryDirectory() as root:
            for path, data in (("src/a.cc", b"int x();\n"), ("build/b.cc", b""), ("src/c.bin", b"\xff\xfe\x00")):
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "wb") as file:
                    file.write(data)
            self.assertEqual(list(Tree.load(root).files), ["src/a.cc"])


if __name__ == "__main__":
    unittest.main()
