"""Devices are put in and pulled out, and nothing is typed but that: `corelet serve --bays`, `lab insert`, `lab pull`."""
import json
import os
import signal
import subprocess
import time

import meshes
from meshes import CORELET, MIB, SystemTest, run_corelet
from janitor import processes_of

SIZE = 256 * MIB


class Bays(SystemTest):
    def pids(self, directory):
        """Of the corelets of a keeper's bays."""
        return {pid for pid, arguments in processes_of(directory).items() if "serve" in arguments and "--bays" not in arguments}

    def log(self, directory):
        with open(f"{directory}/bays.log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def bays(self, directory):
        return {bay["bay"]: bay for bay in run_json("bays", "--dir", directory)["bays"]}

    def blank(self, path, size=SIZE):
        """A device of zeros, there all at once."""
        hidden = os.path.join(os.path.dirname(path), "." + os.path.basename(path))
        with open(hidden, "wb") as file:
            file.truncate(size)
        os.rename(hidden, path)

    def keep(self, directory, folder, *options):
        process = subprocess.Popen([CORELET, "serve", "--log", "--bays", folder, "--dir", directory, *options],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def fills(self, lab, number):
        """Up, and holding something."""
        corelet = lab.corelet(number)
        return corelet["state"] == "up" and corelet["used_bytes"] > 0

    def test_put_in_and_pulled_out(self):
        lab = self.lab(4, out_after="2s")
        uri = lab.volume("v", "64M", redundancy="rep:3", at="1")
        data = self.pattern_file("data", 48 * MIB)
        self.copy_in(data, uri)

        began = time.monotonic()
        lab.run("lab", "insert", "5")
        self.wait_until(lambda: self.fills(lab, 5), "the blank device in bay 5 is a corelet that fills", limit=60)
        print(f"a blank device was a filling corelet after {time.monotonic() - began:.1f} s", flush=True)
        self.assertEqual(lab.corelet(5)["location"], "z1/r1/c5")
        self.assertEqual(self.refused("lab", "insert", "5", mesh=lab).code, "conflict")
        self.wait_until(lambda: lab.status()["health"] == "ok", "whole with five")
        first = lab.corelet(5)["id"]

        lab.run("lab", "pull", "5")
        self.assertIsNone(lab.pid(5))
        self.wait_until(lambda: lab.corelet(5)["state"] == "down", "it is missed", limit=60)
        self.wait_until(lambda: lab.corelet(5)["state"] == "out", "it is given up")
        self.wait_until(lambda: lab.status()["health"] == "ok", "what it held is elsewhere")
        self.assertIsNone(lab.pid(5), "nobody has started it again")
        self.assertEqual(self.refused("lab", "pull", "5", mesh=lab).code, "not found")

        # One of the first four too, whose bay is empty then; the new one takes its place.
        lab.run("lab", "pull", "2")
        self.wait_until(lambda: lab.corelet(2)["state"] in ("down", "out"), "it is missed", limit=60)
        second = lab.corelet(2)["id"]
        location = lab.corelet(2)["location"]
        lab.run("lab", "insert", "2,5")
        self.wait_until(lambda: self.fills(lab, 2) and self.fills(lab, 5), "both are filled", limit=60)
        self.assertNotEqual(lab.corelet(2)["id"], second)
        self.assertNotEqual(lab.corelet(5)["id"], first)
        self.assertEqual(lab.corelet(2)["location"], location)
        self.wait_until(lambda: lab.status()["health"] == "ok", "whole again")
        self.assert_holds(lab.volume_status("v")["uri"], data)

        lab.run("lab", "down")
        self.assertEqual(lab.pids(), set(), "the keeper too")
        self.assertEqual(lab.up()["health"], "ok")
        self.assertEqual({c["state"] for c in lab.status()["corelets"]}, {"up"})
        self.assert_holds(lab.attach("v"), data)
        lab.run("lab", "down", "--wipe")
        self.assertFalse(os.path.exists(lab.directory), "nothing is left")

    def test_the_same_device_again_is_the_same_corelet(self):
        lab = self.lab(3, out_after="10min")
        uri = lab.volume("v", "64M", redundancy="rep:2", at="1")
        data = self.pattern_file("data", 48 * MIB)
        self.copy_in(data, uri)
        lab.run("lab", "insert", "4")
        self.wait_until(lambda: lab.corelet(4)["state"] == "up" and lab.status()["health"] == "ok", "it is part of it")
        before = lab.corelet(4)["id"]
        lab.run("lab", "pull", "4", "--keep")
        self.wait_until(lambda: lab.corelet(4)["state"] == "down", "it is missed")
        lab.run("lab", "insert", "4", "--same")
        self.wait_until(lambda: lab.corelet(4)["state"] == "up", "it is back")
        self.assertEqual(lab.corelet(4)["id"], before)
        # A process that dies is started again.
        pid = lab.pid(4)
        lab.kill(4)
        self.wait_until(lambda: lab.pid(4) not in (None, pid), "its keeper starts it again")
        self.wait_until(lambda: lab.corelet(4)["state"] == "up", "and it is back")
        self.assertEqual(lab.corelet(4)["id"], before)
        self.assert_holds(uri, data)

    def test_what_is_unknown_is_refused_and_untouched(self):
        lab = self.lab(1)
        other = self.lab(1, name="other")
        folder, directory = self.path("bays"), self.path("keeper")
        os.mkdir(folder)
        ext4 = f"{folder}/ext4"
        self.blank(ext4)
        self.tool("mkfs.ext4", "-q", "-F", ext4)
        with open(f"{folder}/late", "wb") as file:  # zeros at its beginning
            file.truncate(SIZE)
            file.seek(SIZE - 8192)
            file.write(b"somebody's label")
        run_corelet("join", "--dir", self.path("stray"), "--device", f"{folder}/stranger:256M", "--seed", f"unix:{other.directory}/c1/corelet.sock")
        os.mkdir(f"{folder}/folder")
        unknown = ("ext4", "late", "stranger")
        before = {name: self.tool("sha256sum", f"{folder}/{name}") for name in unknown}
        self.keep(directory, folder, "--seed", f"unix:{lab.directory}/c1/corelet.sock", "--location", "z/r/{bay}")
        self.blank(f"{folder}/good")
        self.wait_until(lambda: self.bays(directory).get("good", {}).get("state") == "served", "the blank one is served")
        found = self.bays(directory)
        for name in (*unknown, "folder"):
            self.assertEqual(found[name]["state"], "left alone", name)
        self.assertIn("does not know", found["ext4"]["words"])
        self.assertIn("does not know", found["late"]["words"])
        self.assertIn("another mesh", found["stranger"]["words"])
        self.assertEqual({name: self.tool("sha256sum", f"{folder}/{name}") for name in unknown}, before)
        mesh = self.mesh(directory + "/good")
        self.wait_until(lambda: "z/r/good" in [c["location"] for c in mesh.status()["corelets"] if c["state"] == "up"], "it stands where the template says")
        self.assertEqual(len(mesh.status()["corelets"]), 2)

    def test_a_keeper_that_starts_again_serves_what_is_there(self):
        lab = self.lab(2)
        token = self.path("token")
        with open(token, "w", encoding="ascii") as file:
            file.write(lab.run("token", "create"))
        folder, directory = self.path("bays"), self.path("keeper")
        os.mkdir(folder)
        self.blank(f"{folder}/1")
        keeper = self.keep(directory, folder, "--token-file", token)
        self.blank(f"{folder}/2")  # one token lets the keeper in, and all its devices
        mesh = self.mesh(directory + "/1")
        up = lambda: {c["id"] for c in mesh.status()["corelets"] if c["state"] == "up"}
        self.wait_until(lambda: len(up()) == 4, "two more corelets")
        ids = up()
        pids = self.pids(directory)
        self.assertEqual(len(pids), 2)
        self.assertEqual(run_error(self, "serve", "--bays", folder, "--dir", directory).code, "conflict")

        # Killed, it leaves its corelets running, and the next one takes them over.
        keeper.kill()
        keeper.wait()
        keeper = self.keep(directory, folder)
        taken_over = lambda: self.log(directory).count("bay.taken_over")
        self.wait_until(lambda: taken_over() == 2, "taken over")
        self.wait_until(lambda: {bay["pid"] for bay in self.bays(directory).values()} == pids, "and it says so")
        self.assertEqual(self.pids(directory), pids)
        self.assertEqual(up(), ids)

        # Told to end, it ends them, and the next one starts them.
        keeper.send_signal(signal.SIGTERM)
        self.assertEqual(keeper.wait(60), 0)
        self.assertEqual(self.pids(directory), set())
        self.assertFalse(run_json("bays", "--dir", directory)["watched"])
        os.rename(f"{folder}/1", f"{folder}/3")  # and the disks may have changed their bays
        self.keep(directory, folder)
        self.wait_until(lambda: self.bays(directory).get("3", {}).get("state") == "served", "served in another bay")
        self.wait_until(lambda: up_at(self, directory + "/3") == ids, "the same corelets")

    def test_a_keeper_must_be_told_of_a_mesh(self):
        os.mkdir(self.path("bays"))
        refused = run_error(self, "serve", "--bays", self.path("bays"), "--dir", self.path("keeper"))
        self.assertIn("--token-file", refused.message)
        self.assertIn("is no location", run_error(self, "serve", "--bays", self.path("bays"), "--dir", self.path("keeper"), "--location", "a/b/c/d").message)
        self.assertEqual(run_error(self, "bays", "--dir", self.path("keeper")).code, "not found")


def up_at(test, directory):
    return {c["id"] for c in test.mesh(directory).status()["corelets"] if c["state"] == "up"}


def run_json(*arguments):
    return json.loads(run_corelet("--json", *arguments))


def run_error(test, *arguments):
    return test.refused(*arguments)


if __name__ == "__main__":
    meshes.main()
