"""Real `corelet` processes for a test: meshes in directories of their own, conditions to wait for, stock tools.

    class Something(SystemTest):
        def test_it(self):
            lab = self.lab(3)                                   # up, and health ok
            uri = lab.volume("v", size="64M", redundancy="rep:3")
            ...
            self.wait_until(lambda: lab.status()["health"] == "ok", "the mesh is whole again")

A test asks for conditions, never for moments: wait_until looks again and again and gives up after a generous time. What fails while the
machine itself stood still (stalls.py: no turn for a quarter of a second, a disk that hangs) says nothing about Corelet and is run again, twice at
most; where it ran without a stall it fails at once, and so does whatever found wrong data. Whatever happens, nothing is left: the janitor kills and removes when the test ends or dies."""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from janitor import processes_of
from stalls import WRONG, stood_still

HERE = os.path.dirname(os.path.abspath(__file__))
CORELET = os.environ.get("CORELET_BIN", os.path.join(HERE, "../../build/release/bin/corelet"))
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class Failed(Exception):
    """A command that ended with an error. `message` is what a person reads, `code` the error's name."""

    def __init__(self, command, done):
        self.exit_code = done.returncode
        self.text = done.stderr.strip()
        self.code, self.message = None, self.text
        try:
            error = json.loads(self.text.splitlines()[-1])["error"]
            self.code, self.message = error["code"], error["message"]
        except (ValueError, KeyError, IndexError, TypeError):
            pass
        super().__init__(f"{' '.join(command)}: exit code {done.returncode}: {self.text or done.stdout.strip()}")


def run_corelet(*arguments, directory=None, timeout=90, environment=None):
    """What it printed. Failed: it ended with another code than 0."""
    command = [CORELET, *map(str, arguments)]
    own = dict(os.environ)
    own.pop("CORELET_DIR", None)
    if directory:
        own["CORELET_DIR"] = directory
    own.update(environment or {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=own, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed(command, done)
    return done.stdout


def free_port(host="127.0.0.1"):
    """A TCP port that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def may_make_networks():
    """Whether this machine lets us have network namespaces: `lab up --net tcp` takes root and iproute2."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        return False
    if subprocess.run(["ip", "netns", "add", "corelet-probe"], capture_output=True, check=False).returncode != 0:
        return False
    subprocess.run(["ip", "netns", "del", "corelet-probe"], check=False)
    return True


def socket_of(uri):
    return uri.partition("?socket=")[2]


class Mesh:
    """Commands to a mesh found by its directory."""

    def __init__(self, directory):
        self.directory = directory

    def run(self, *arguments, **options):
        """The text that a command prints."""
        return run_corelet(*arguments, directory=self.directory, **options)

    def json(self, *arguments, **options):
        return json.loads(self.run("--json", *arguments, **options))

    def status(self):
        return self.json("status")

    def info(self, name):
        return self.json("volume", "info", name)

    def corelet(self, number):
        """Of the status, the corelet with that number in the lab."""
        return self.status()["corelets"][number - 1]

    def volume_status(self, name):
        return next(volume for volume in self.status()["volumes"] if volume["name"] == name)

    def pool(self, name, redundancy, *options):
        return self.json("pool", "create", name, "--redundancy", redundancy, *options)

    def volume(self, name, size="64M", pool="p", redundancy=None, at=None, nbd=None):
        """Makes a volume (and its pool, if a redundancy is given) and serves it; its URI."""
        if redundancy:
            self.pool(pool, redundancy)
        self.run("volume", "create", name, "--size", size, "--pool", pool)
        return self.attach(name, at=at, nbd=nbd)

    def attach(self, name, at=None, nbd=None):
        options = (["--at", at] if at else []) + (["--nbd", nbd] if nbd else [])
        return self.json("volume", "attach", name, *options)["uri"]


class Lab(Mesh):
    def up(self, corelets=None, **options):
        """`lab up`; options as named there, as in size="256M", out_after="2s"."""
        words = ["--corelets", corelets] if corelets else []
        for key, value in options.items():
            words += ["--" + key.replace("_", "-"), value]
        return self.json("lab", "up", "--dir", self.directory, *words, timeout=120)

    def pid(self, number):
        """Of the process of that corelet; None when it does not run."""
        directory = f"{self.directory}/c{number}"
        for pid, arguments in processes_of(self.directory).items():
            if "serve" in arguments and directory in arguments:
                return pid
        return None

    def pids(self):
        return {pid for pid, arguments in processes_of(self.directory).items() if "serve" in arguments}

    def kill(self, *numbers, sig="KILL"):
        return self.run("lab", "kill", ",".join(map(str, numbers)), "--signal", sig)

    def start(self, *numbers, empty=False):
        return self.run("lab", "start", ",".join(map(str, numbers)), *(["--empty"] if empty else []))

    def number(self, corelet_id):
        """Of the corelet with that id; None of one that joined from elsewhere."""
        return next(c.get("index") for c in self.status()["corelets"] if c["id"] == corelet_id)

    def owner(self, name):
        """The number of the corelet that owns a volume; None while nobody of the lab does."""
        owner = self.volume_status(name)["owner"]
        return self.number(owner) if owner else None

    def log(self, number, lines=15):
        try:
            with open(f"{self.directory}/c{number}/corelet.log", encoding="utf-8", errors="replace") as file:
                # The end of each command's connection says nothing.
                return "".join([line for line in file if "wire.session_ended" not in line][-lines:])
        except OSError:
            return ""


class Recorder(unittest.TestResult):
    """What a run reports, kept, to be told to another result or not."""
    KEPT = ("addFailure", "addError", "addSkip", "addSuccess", "addSubTest", "addExpectedFailure", "addUnexpectedSuccess")

    def __init__(self):
        super().__init__()
        self.calls = []
        for name in self.KEPT:
            setattr(self, name, self.keeper(name, getattr(self, name)))

    def keeper(self, name, original):
        def call(*arguments):
            self.calls.append((name, arguments))
            original(*arguments)
        return call


class SystemTest(unittest.TestCase):
    maxDiff = None
    ATTEMPTS = 3

    def run(self, result=None):
        if result is None:
            result = self.defaultTestResult()
        result.startTest(self)
        for attempt in range(1, self.ATTEMPTS + 1):
            recorder = Recorder()
            with tempfile.TemporaryDirectory(prefix="cw", dir="/tmp") as folder:
                with subprocess.Popen([sys.executable, os.path.join(HERE, "stalls.py"), folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as watch:
                    watch.stdout.readline()
                    super().run(recorder)
                    seen = json.loads(watch.communicate()[0])
            if recorder.wasSuccessful():
                break
            print(f"{self.id()}: attempt {attempt} failed; longest stalls of this machine meanwhile: {seen}", file=sys.stderr, flush=True)
            said_wrong = any(WRONG in text for _, text in recorder.failures + recorder.errors)
            if said_wrong or not stood_still(seen):
                break
        for name, arguments in recorder.calls:
            getattr(result, name)(*arguments)
        result.stopTest(self)
        return result

    def setUp(self):
        self.gave_up = False
        # Short: a socket's path has 107 bytes.
        self.folder = tempfile.mkdtemp(prefix="cs", dir="/tmp")
        self.janitor = subprocess.Popen(["setsid", "--fork", sys.executable, os.path.join(HERE, "janitor.py"), self.folder],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.clean_up)
        self.meshes = []

    def tearDown(self):
        self.tell_about_failure()

    def clean_up(self):
        self.janitor.stdin.close()
        left = self.janitor.stdout.read().split()
        self.janitor.stdout.close()
        self.janitor.wait()
        self.assertEqual(left, [], "processes that do not end even when killed")

    def tell_about_failure(self):
        outcome = self._outcome.result
        failed = any(test is self for test, _ in outcome.failures + outcome.errors) if outcome else False
        if not failed and sys.exc_info()[0] is None and not self.gave_up:
            return
        for _, text in (outcome.failures + outcome.errors) if outcome else []:
            print(f"--- what failed: {text.strip().splitlines()[-1]}", file=sys.stderr)
        for mesh in self.meshes:
            try:
                print(f"--- status of {mesh.directory}:\n{mesh.run('status', timeout=20)}", file=sys.stderr)
            except (Failed, OSError, subprocess.SubprocessError) as error:
                print(f"--- no status: {error}", file=sys.stderr)
            for entry in sorted(os.listdir(mesh.directory)) if os.path.isdir(mesh.directory) else []:
                if isinstance(mesh, Lab) and entry.startswith("c") and entry[1:].isdigit():
                    print(f"--- {entry}:\n{mesh.log(int(entry[1:]))}", file=sys.stderr)
        sys.stderr.flush()

    def path(self, name):
        return os.path.join(self.folder, name)

    def mesh(self, directory):
        mesh = Mesh(directory)
        self.meshes.append(mesh)
        return mesh

    def lab(self, corelets, name="lab", size="256M", **options):
        """A lab that is up, with health `ok`."""
        lab = Lab(self.path(name))
        self.meshes.append(lab)
        lab.up(corelets, size=size, **options)
        status = lab.status()
        self.assertEqual(len(status["corelets"]), corelets + options.get("witnesses", 0), "all have joined")
        self.assertGreaterEqual(len(status["catalog"]["voters"]), min(corelets, 3) - (corelets == 2), "who is lost at once is outvoted")
        return lab

    def wait_until(self, condition, what, limit=180):
        """The first true value of `condition`, which is asked again and again. A command that fails meanwhile is as good as false."""
        deadline = time.monotonic() + limit
        last = None
        while True:
            try:
                last = condition()
                if last:
                    return last
            except Failed as error:
                last = error
            if time.monotonic() >= deadline:
                self.gave_up = True
                self.fail(f"after {limit} s this did not happen: {what} (last: {last})")
            time.sleep(0.05)

    def refused(self, *arguments, mesh=None, directory=None, exit_code=1, **options):
        """The error of a command that must fail; both its forms, for people and as JSON, are looked at."""
        where = mesh.directory if mesh else directory
        with self.assertRaises(Failed) as caught:
            run_corelet("--json", *arguments, directory=where, **options)
        error = caught.exception
        self.assertEqual(error.exit_code, exit_code, error.text)
        self.assertIsNotNone(error.code, f"the error is not JSON: {error.text}")
        self.assertTrue(error.message)
        return error

    def tool(self, *command, ok=True, timeout=120, **options):
        """What a tool of the machine says."""
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout, check=False, **options)
        self.assertEqual(done.returncode == 0, ok, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def pattern_file(self, name, size, seed=1):
        """A file that does not compress and does not repeat; its path."""
        path = self.path(name)
        generator = random.Random(seed)
        with open(path, "wb") as file:
            for at in range(0, size, 16 * MIB):
                file.write(generator.randbytes(min(16 * MIB, size - at)))
        return path

    def copy_in(self, path, uri):
        self.tool("nbdcopy", "--flush", path, uri)

    def assert_holds(self, uri, path):
        """The volume begins with what the file holds."""
        size = os.path.getsize(path)
        reader = subprocess.Popen(["nbdcopy", uri, "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        at = 0
        with open(path, "rb") as file:
            while at < size:
                part = reader.stdout.read(min(MIB, size - at))
                if not part:
                    break
                self.assertTrue(part == file.read(len(part)), f"{WRONG}what is read within {len(part)} bytes of {at} is not what was written")
                at += len(part)
        reader.stdout.close()
        said = reader.stderr.read().decode()
        reader.stderr.close()
        reader.wait()
        self.assertEqual(at, size, f"the volume could not be read to the end: {said}")


def main():
    # A test that hangs dies by CTest; one that is asked to end does so in order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for needed in ("setsid", "nbdcopy"):
        if not shutil.which(needed):
            sys.exit(f"'{needed}' is missing; ./dev setup installs it")
    unittest.main()
