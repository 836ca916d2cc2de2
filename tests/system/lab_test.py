"""`corelet lab`: up, kill, start, down, and what each promises."""
import os
import subprocess
import unittest

import meshes
from meshes import CORELET, MIB, Lab, SystemTest
from janitor import processes_of


class Up(SystemTest):
    def test_returns_when_the_mesh_is_ok_and_says_how_to_find_it(self):
        directory = self.path("lab")
        said = subprocess.run([CORELET, "lab", "up", "--corelets", "3", "--witnesses", "2", "--zones", "2", "--size", "256M", "--dir", directory],
                              capture_output=True, text=True, timeout=90, check=True)
        self.assertEqual(said.stdout.strip(), f"export CORELET_DIR={directory}")
        lab = Lab(directory)
        self.meshes.append(lab)
        status = lab.status()
        self.assertEqual(status["health"], "ok")
        corelets = status["corelets"]
        self.assertEqual([c["index"] for c in corelets], [1, 2, 3, 4, 5])
        self.assertEqual([c["role"] for c in corelets], ["storage"] * 3 + ["witness"] * 2)
        self.assertEqual([c["location"].split("/")[0] for c in corelets], ["z1", "z2", "z1", "z2", "z1"])
        self.assertEqual({c["state"] for c in corelets}, {"up"})
        self.assertTrue(all(c["voter"] for c in corelets[3:]), "witnesses vote first")
        self.assertTrue(all(c["capacity_bytes"] > 200 * MIB for c in corelets[:3]))
        # Each process bears the mesh's directory.
        serving = [arguments for arguments in processes_of(directory).values() if "serve" in arguments]
        self.assertEqual(sorted(a for arguments in serving for a in arguments if a.startswith(directory)), [f"{directory}/c{i}" for i in range(1, 6)])
        # Once more is harmless, and starts nothing.
        before = lab.pids()
        lab.up()
        self.assertEqual(lab.pids(), before)
        lab.run("lab", "down", "--wipe")
        self.assertEqual(lab.pids(), set())
        self.assertFalse(os.path.exists(directory))

    def test_starts_an_existing_directory_again_with_its_attachments(self):
        lab = self.lab(3)
        uri = lab.volume("v", "64M", redundancy="rep:3")
        data = self.pattern_file("data", 64 * MIB)
        self.copy_in(data, uri)
        lab.run("lab", "down")
        self.assertEqual(lab.pids(), set())
        again = lab.up()
        self.assertEqual(again["health"], "ok")
        self.wait_until(lambda: lab.volume_status("v")["served"], "the volume is served again by itself")
        self.assertEqual(lab.volume_status("v")["uri"], uri)
        self.assert_holds(uri, data)

    def test_all_killed_at_once_serve_again_by_themselves(self):
        lab = self.lab(3)
        uri = lab.volume("v", "64M", redundancy="rep:3")
        data = self.pattern_file("data", 64 * MIB)
        self.copy_in(data, uri)
        lab.kill(1, 2, 3)
        self.assertEqual(lab.pids(), set())
        lab.start(1, 2, 3)
        self.wait_until(lambda: lab.volume_status("v")["served"] and lab.status()["health"] == "ok", "served again, and whole")
        self.assert_holds(lab.volume_status("v")["uri"], data)


class Signals(SystemTest):
    def test_stop_and_cont(self):
        lab = self.lab(3)
        pid = lab.pid(2)
        lab.kill(2, sig="STOP")
        self.wait_until(lambda: lab.corelet(2)["state"] == "down", "a stopped corelet counts as down")
        self.assertEqual(self.refused("lab", "start", "2", mesh=lab).code, "conflict")
        lab.kill(2, sig="CONT")
        self.wait_until(lambda: lab.corelet(2)["state"] == "up" and lab.status()["health"] == "ok", "it comes back")
        self.assertEqual(lab.pid(2), pid)

    def test_kill_and_start_and_an_empty_replacement(self):
        lab = self.lab(4, out_after="2s")
        before = lab.corelet(3)["id"]
        lab.kill(3)
        self.assertIsNone(lab.pid(3))
        self.assertEqual(self.refused("lab", "kill", "3", mesh=lab).code, "not found")
        lab.start(3)
        self.wait_until(lambda: lab.corelet(3)["state"] == "up", "the same corelet is back")
        self.assertEqual(lab.corelet(3)["id"], before)
        self.assertEqual(self.refused("lab", "start", "3", "--empty", mesh=lab).code, "conflict")
        lab.kill(3)
        lab.start(3, empty=True)
        self.wait_until(lambda: lab.corelet(3)["state"] == "up" and lab.status()["health"] == "ok", "the replacement is up")
        self.assertNotEqual(lab.corelet(3)["id"], before)

    def test_what_cannot_be_asked(self):
        lab = self.lab(1)
        for arguments, code in ((("lab", "kill", "2"), "not found"), (("lab", "kill", "x"), "invalid"), (("lab", "kill", "1", "--signal", "HUP"), "invalid"),
                                (("lab", "partition", "1"), "unsupported"), (("lab", "up", "--corelets", "3"), "conflict")):
            self.assertEqual(self.refused(*arguments, mesh=lab).code, code, arguments)


if __name__ == "__main__":
    meshes.main()
