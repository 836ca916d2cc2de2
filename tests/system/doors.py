"""`corelet connect` as a process, and stock clients behind it, which must never see an error: whatever becomes of the volume's owner, their
socket stays."""
import json
import subprocess
import threading

from meshes import CORELET, KIB
from stalls import WRONG


class Door:
    """A volume followed at unix:PATH until the test ends. `uri` is what clients take."""

    def __init__(self, test, lab, name, path):
        self.log = open(path + ".log", "w", encoding="utf-8")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen([CORELET, "--json", "--dir", lab.directory, "connect", name, "--nbd", f"unix:{path}"],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        test.addCleanup(self.close)
        said = self.process.stdout.readline()
        test.assertTrue(said, f"corelet connect {name} has ended: {self.told()}")
        self.uri = json.loads(said)["uri"]
        self.path = path

    def told(self):
        with open(self.log.name, encoding="utf-8") as file:
            return file.read()

    def owners(self):
        """How many owners it has followed."""
        return self.told().count("door.opened")

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


class FioLoop(threading.Thread):
    """Writes a region at random with fio and reads all of it back with its checksums, again and again, each time in another order; each error
    counts, for behind a door there is none to be borne."""

    def __init__(self, uri, folder, name, size, block=4 * KIB, rate=400):
        super().__init__(daemon=True)
        self.uri, self.folder, self.name_of, self.size, self.block, self.rate = uri, folder, name, size, block, rate
        self.rounds = 0
        self.errors = []
        self.ending = threading.Event()
        self.start()

    def run(self):
        while not self.ending.is_set() and not self.errors:
            command = ["fio", f"--name={self.name_of}", "--ioengine=nbd", f"--uri={self.uri}", f"--size={self.size}", "--rw=randwrite",
                       f"--bs={self.block}", "--iodepth=8", f"--rate_iops=,{self.rate}", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1",
                       "--verify_state_save=0", f"--randseed={self.rounds + 1}"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=self.folder)
            except subprocess.TimeoutExpired:
                self.errors.append("fio waits for longer than any loss may last")
                return
            said = done.stdout + done.stderr
            if any(word in said for word in ("verify: bad", "verify failed", "bad magic header")):
                self.errors.append(f"{WRONG}fio: {said[:2000]}")
            elif done.returncode != 0:
                self.errors.append(f"fio saw an error: {said[:2000]}")
            else:
                self.rounds += 1

    def stop(self, limit=300):
        """Ends with a round that is written and verified whole."""
        self.ending.set()
        self.join(limit)
        if self.is_alive():
            self.errors.append("fio does not end")
