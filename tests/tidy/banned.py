"""What would make a run depend on more than its seed, or reach past the five interfaces of rt."""
import re

from source import matching

OS_HEADER = re.compile(
    r"(sys|linux|netinet|arpa|net|asm|bits|liburing)/.*"
    r"|(unistd|fcntl|poll|signal|pthread|dirent|dlfcn|sched|spawn|termios|execinfo|netdb|ifaddrs|liburing|time|pwd|grp|mntent"
    r"|ucontext|semaphore|utime|threads|setjmp|syslog)\.h"
    r"|c(signal|time|setjmp)|thread|mutex|shared_mutex|condition_variable|future|semaphore|latch|barrier|stop_token|chrono"
    r"|filesystem|fstream|random|execution"
)
# What is banned, the pattern, the note that allows one line of it (None: nothing does), and the folders it is free in.
CALLS = (
    ("a clock", r"\bstd::chrono\b|\b(gettimeofday|clock_gettime|clock_nanosleep|timespec_get)\s*\(|(?:\bstd|(?<![\w>]))::time\s*\("
     r"|(?<![\w:.>])time\s*\(\s*(nullptr|NULL|0|&)|\bstd::clock\s*\(|(?<![\w.>:])(localtime|gmtime|mktime)(_r)?\s*\(|__rdtsc",
     "host", ()),
    ("sleeping", r"\b(usleep|nanosleep)\s*\(|(?<!\w)::sleep\s*\(|(?<![\w.>:])sleep\s*\(\s*\d|\bstd::this_thread\b", "host", ()),
    ("a generator that is not ours", r"\bstd::(random_device|mt19937|minstd_rand|default_random_engine|ranlux|knuth_b|shuffle"
     r"|ranges::shuffle|random_shuffle|sample|ranges::sample|generate_canonical|\w+_distribution)|(?<![\w.>:])s?rand(om)?(_r)?\s*\("
     r"|\bd?rand48\s*\(|\bget(random|entropy)\s*\(|\bstd::rand\b", "host", ()),
    ("a thread", r"\bstd::(thread|jthread|async|mutex|shared_mutex|recursive_mutex|condition_variable\w*|future|promise"
     r"|counting_semaphore|barrier|latch)\b|\bpthread_\w+", "host", ()),
    ("thread_local", r"\bthread_local\b", None, ("base", "rt")),
    ("std::hash, whose values are not pinned (base/hash.h is)", r"\bstd::hash\b", "lookup-only", ("base",)),
    ("the process and its environment", r"(?<![\w.>:])(getpid|getenv|setenv)\s*\("
     r"|(?:\bstd|(?<!\w))::(getpid|getenv|setenv|fork|exec[lv]\w*|kill|system)\s*\(", "host", ()),
    ("a jump past destructors", r"\b(long|set)jmp\s*\(", None, ()),
)
CALLS = tuple((what, re.compile(pattern), note, free) for what, pattern, note, free in CALLS)
LAMBDA = re.compile(r"\[(?P<capture>[^\[\]]*)\]\s*(?=[({]|mutable\b|->)")
CO_KEYWORD = re.compile(r"\bco_(await|return|yield)\b")
FREE = {"os"}


def may_note(source):
    """Where a `// host: reason` note is accepted: main programs and tests meet the machine now and then."""
    return source.folder == "app" or source.is_test


def check_headers(source):
    for line, quoted, name in source.includes:
        if quoted or not OS_HEADER.fullmatch(name):
            continue
        if may_note(source) and source.has_note(line, "host"):
            continue
        yield source.problem(line, "os-header", f"<{name}> belongs in os; above it use the interfaces of rt")


def check_calls(source):
    for what, pattern, note, free in CALLS:
        if source.folder in free:
            continue
        for match in pattern.finditer(source.code):
            line = source.line_of(match.start())
            if source.code_lines[line - 1].lstrip().startswith("#include"):
                continue
            noted = note is not None and source.has_note(line, note)
            if noted and (note != "host" or may_note(source)):
                continue
            hint = f" (or say `// {note}: reason`)" if note and (note != "host" or may_note(source)) else ""
            yield source.problem(line, "banned", f"{what}: `{match.group(0).strip()}`{hint}")


def lambda_body(code, match):
    """(offset of the body, its end) of the lambda introduced by `match`, or None if this is no lambda."""
    at = match.end()
    if code[at:at + 1] == "(":
        at = matching(code, at, "(", ")")
    opening = code.find("{", at)
    if opening < 0 or re.search(r"[;)}\]=]", code[at:opening]):
        return None
    return opening, matching(code, opening, "{", "}")


def check_lambdas(source):
    """A lambda that captures and is a coroutine: its captures die with the closure, often before its first resumption."""
    code = source.code
    bodies = []
    for match in LAMBDA.finditer(code):
        before = code[:match.start()].rstrip()
        if re.search(r"[\w\])]$", before) and not re.search(r"\b(return|co_return|co_await|co_yield|case)$", before):
            continue  # a subscript or an array's size
        body = lambda_body(code, match)
        if body:
            bodies.append((match, body))
    for match, (start, end) in bodies:
        if not match.group("capture").strip():
            continue
        own = code[start:end]
        for _, (inner_start, inner_end) in bodies:
            if start < inner_start and inner_end <= end:
                own = own[:inner_start - start] + " " * (inner_end - inner_start) + own[inner_end - start:]
        if CO_KEYWORD.search(own):
            yield source.problem(source.line_of(match.start()), "coroutine",
                                 "a capturing lambda must not be a coroutine: pass what it needs as parameters")


def check(tree):
    for source in tree.cpp():
        if source.is_header and not re.search(r"^#pragma once$", source.text, re.MULTILINE):
            yield source.problem(1, "pragma", "a header begins with `#pragma once`")
        if source.folder is None:
            continue
        yield from check_lambdas(source)
        if source.folder not in FREE:
            yield from check_headers(source)
            yield from check_calls(source)
