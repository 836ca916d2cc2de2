"""`corelet connect`: a volume's door at the client's side, with real processes and stock clients. What it does through a life of losses is in
nine.py; the rules, in the simulator, in tests/mesh/door_sim_test.cc."""
import os
import signal

import meshes
from doors import Door
from load import Load
from meshes import MIB, SystemTest


class Connect(SystemTest):
    def test_what_is_written_through_it_is_in_the_volume(self):
        lab = self.lab(4)
        lab.pool("p", "ec:2+1")
        lab.run("volume", "create", "v", "--size", "64M", "--pool", "p")
        self.assertIsNone(lab.volume_status("v")["owner"])
        door = Door(self, lab, "v", self.path("v.door"))
        self.assertIsNotNone(lab.volume_status("v")["owner"], "it was attached")
        data = self.pattern_file("data", 40 * MIB + 512 * 7)
        self.copy_in(data, door.uri)
        self.assert_holds(door.uri, data)
        self.assert_holds(lab.attach("v"), data)
        self.tool("qemu-io", "-f", "raw", "-c", "write -z -u 8M 4M", "-c", "discard 20M 4M", "-c", "write -P 7 9M 1536", "-c", "flush", door.uri)
        self.tool("qemu-io", "-f", "raw", "-c", "read -P 0 8M 1M", "-c", "read -P 7 9M 1536", "-c", "read -P 0 20M 4M", door.uri)
        extents = self.tool("nbdinfo", "--map", door.uri)
        self.assertEqual(extents, self.tool("nbdinfo", "--map", lab.attach("v")), "and so says the owner's own export")
        self.assertIn("hole", extents)

    def test_clients_stay_while_owners_go(self):
        lab = self.lab(5)
        lab.pool("p", "rep:3")
        lab.run("volume", "create", "v", "--size", "32M", "--pool", "p")
        door = Door(self, lab, "v", self.path("v.door"))
        load = Load(door.path, "v", 4096, reads=0.3, rate=500)
        self.addCleanup(load.stop)
        self.more(load)
        lab.attach("v", at=str(lab.owner("v") % 5 + 1))
        self.more(load)
        lab.kill(lab.owner("v"), sig="TERM")  # hands over
        self.more(load)
        lab.kill(lab.owner("v"))
        self.more(load)
        load.stop()
        load.verify()
        self.assertEqual(load.errors, [])
        self.assertEqual(load.connects, 2, "one for all of it, one to verify")
        self.assertEqual(door.owners(), 4)

    def more(self, load):
        reached = load.acknowledged + 200
        self.wait_until(lambda: load.acknowledged >= reached or load.errors, "clients get on")
        self.assertEqual(load.errors, [])

    def test_a_later_one_takes_its_place(self):
        lab = self.lab(3)
        lab.volume("v", "32M", redundancy="rep:2")
        first = Door(self, lab, "v", self.path("first.door"))
        second = Door(self, lab, "v", self.path("second.door"))
        data = self.pattern_file("data", 8 * MIB)
        self.copy_in(data, second.uri)
        # The first one learns of it when it asks for something.
        self.tool("nbdcopy", first.uri, self.path("copy"), ok=False)
        first.process.wait(20)
        self.assertEqual(first.process.returncode, 1)
        self.assertIn("a later `corelet connect` has taken volume 'v' over", first.told())
        self.assertFalse(os.path.exists(first.path), "its socket is gone")
        self.assert_holds(second.uri, data)
        second.process.send_signal(signal.SIGTERM)
        self.assertEqual(second.process.wait(20), 0)
        self.assertFalse(os.path.exists(second.path))

    def test_what_cannot_be_is_refused(self):
        lab = self.lab(3)
        lab.volume("v", "32M", redundancy="rep:2")
        self.assertEqual(self.refused("connect", "w", "--nbd", f"unix:{self.path('s')}", mesh=lab).code, "not found")
        error = self.refused("connect", "v", "--nbd", "0.0.0.0:0", mesh=lab)
        self.assertEqual(error.code, "denied")
        self.assertIn("unix socket", error.message)
        self.assertEqual(self.refused("connect", "v", "--nbd", "unix:/" + "x" * 200, mesh=lab).code, "invalid")
        self.assertEqual(self.refused("connect", "v", mesh=lab, exit_code=2).code, "invalid")


if __name__ == "__main__":
    meshes.main()
