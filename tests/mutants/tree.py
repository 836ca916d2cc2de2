"""The scratch tree in which mutants are planted: a copy of the sources as they are in the working tree, built by itself."""
import contextlib
import fcntl
import filecmp
import hashlib
import json
import os
import shutil
import subprocess

COPIED = ("src", "tests", "bench", "fuzz", "cmake", "CMakeLists.txt", "CMakePresets.json")
PRESET = "release"
TARGET = "corelet-sim"


class BuildFailed(Exception):
    pass


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, **options)


class Tree:
    def __init__(self, root, jobs):
        self.root = root
        self.jobs = jobs
        self.work = os.path.join(root, "build", "mutants")
        self.path = os.path.join(self.work, "tree")
        self.build_path = os.path.join(self.path, "build", PRESET)
        self.binary = os.path.join(self.build_path, "bin", TARGET)
        self.clean_file = os.path.join(self.work, "clean.json")
        os.makedirs(self.path, exist_ok=True)
        self.lock = open(os.path.join(self.work, "lock"), "w", encoding="utf-8")  # one run at a time in one tree
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def refresh(self):
        """Only what differs is written, so that only that is built again. A patch left by a run that died goes with it."""
        for name in COPIED:
            source, copy = os.path.join(self.root, name), os.path.join(self.path, name)
            if os.path.isdir(source):
                self.refresh_folder(source, copy)
            elif os.path.exists(source):
                self.refresh_file(source, copy)

    def refresh_folder(self, source, copy):
        os.makedirs(copy, exist_ok=True)
        wanted = {name for name in os.listdir(source) if name != "__pycache__"}
        for name in set(os.listdir(copy)) - wanted:
            gone = os.path.join(copy, name)
            shutil.rmtree(gone) if os.path.isdir(gone) else os.remove(gone)
        for name in sorted(wanted):
            each = os.path.join(source, name)
            (self.refresh_folder if os.path.isdir(each) else self.refresh_file)(each, os.path.join(copy, name))

    @staticmethod
    def refresh_file(source, copy):
        if not os.path.exists(copy) or not filecmp.cmp(source, copy, shallow=False):
            shutil.copyfile(source, copy)
            shutil.copymode(source, copy)

    def build(self):
        if not os.path.exists(os.path.join(self.build_path, "build.ninja")):
            done = run(["cmake", "--preset", PRESET, "-DCORELET_BATCHES=OFF"], cwd=self.path)
            if done.returncode != 0:
                raise BuildFailed("cmake: " + (done.stderr.strip().splitlines() or ["failed"])[-1][:200])
        done = run(["ninja", "-C", self.build_path, "-j", str(self.jobs), TARGET])
        if done.returncode != 0:
            errors = [line for line in done.stdout.splitlines() if "error:" in line or "rror: " in line]
            raise BuildFailed("does not compile: " + (errors or done.stdout.splitlines()[-1:] or ["?"])[0][:200])
        return self.binary

    @contextlib.contextmanager
    def mutated(self, mutant):
        changed = mutant.files()
        for options in (["--dry-run"], []):
            command = ["patch", "-p1", "--forward", "--fuzz=0", "--no-backup-if-mismatch", "--reject-file=-", *options]
            done = run(command, cwd=self.path, input=mutant.diff)
            if done.returncode != 0:
                lines = [line for line in (done.stdout + done.stderr).splitlines() if "FAILED" in line or "malformed" in line]
                raise BuildFailed("does not apply: " + (lines or ["?"])[0][:200])
        try:
            yield
        finally:
            for file in changed:
                source = os.path.join(self.root, file)
                if os.path.exists(source):
                    self.refresh_file(source, os.path.join(self.path, file))
                else:
                    os.remove(os.path.join(self.path, file))

    # --- what is known to run clean, by the very bytes of the program

    def known_clean(self, binary, arguments, count):
        return self.clean().get(self.key(binary, arguments), 0) >= count

    def note_clean(self, binary, arguments, count):
        known = self.clean()
        known[self.key(binary, arguments)] = count
        with open(self.clean_file, "w", encoding="utf-8") as file:
            json.dump(known, file, indent=1)

    def clean(self):
        try:
            with open(self.clean_file, encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    @staticmethod
    def key(binary, arguments):
        with open(binary, "rb") as file:
            return " ".join([hashlib.sha256(file.read()).hexdigest(), *arguments])
