"""Corelets leave a mesh: drained and removed, removed by force, cordoned; and healing that stands still meanwhile."""
import time

import meshes
from meshes import MIB, SystemTest, socket_of
from load import Load


class Leaving(SystemTest):
    def test_drain_and_remove_under_load(self):
        lab = self.lab(5)
        data = self.pattern_file("data", 48 * MIB)
        lab.volume("d", "64M", redundancy="ec:2+1", pool="coded")
        self.copy_in(data, lab.volume_status("d")["uri"])
        lab.run("volume", "detach", "d")  # nobody serves it: what its log has there must move all the same
        lab.volume("v", "64M", redundancy="rep:3", at="2")
        load = Load(socket_of(lab.volume_status("v")["uri"]), "v", 64 * MIB // 4096)
        self.addCleanup(load.stop)
        self.wait_until(lambda: load.acknowledged > 200 or load.errors, "the load runs")
        leaving = lab.corelet(2)["id"]
        done = lab.json("drain", "2", "--wait", "--timeout", "5min", timeout=330)
        self.assertTrue(done["safe_to_remove"], done)
        self.assertEqual(done["left"], [])
        self.assertEqual(lab.corelet(2)["state"], "draining")
        self.assertFalse(lab.corelet(2)["voter"])
        self.assertNotEqual(lab.owner("v"), 2)
        info = lab.info("v")
        self.assertNotIn(leaving, info["open_segment"])
        self.assertNotIn(leaving, sum(info["standbys"], []))
        reached = load.acknowledged + 500
        self.wait_until(lambda: load.acknowledged >= reached or load.errors, "the load goes on")
        self.assertTrue(lab.json("drain", "2")["safe_to_remove"], "nothing new has come there meanwhile")
        removed = lab.json("remove", "2")
        self.assertFalse(removed["forced"])
        self.wait_until(lambda: lab.corelet(2)["state"] in ("absent",), "it is no part of the mesh")
        lab.kill(2)
        self.wait_until(lambda: lab.status()["health"] == "ok", "a mesh of four is whole")
        load.stop()
        load.verify()
        self.assertEqual(load.errors, [])
        self.assert_holds(lab.attach("d"), data)
        lab.start(2)
        self.wait_until(lambda: "node.removed" in lab.log(2, 200), "it does not come back as itself")
        self.assertEqual(lab.corelet(2)["state"], "absent")

    def test_what_is_needed_is_not_let_go(self):
        lab = self.lab(4)
        lab.volume("v", "64M", redundancy="rep:3", at="1")
        refused = self.refused("remove", "1", mesh=lab)
        self.assertEqual(refused.code, "conflict")
        self.assertIn("fragments of pool 'p'", refused.message)
        self.assertIn("drain", refused.message)
        self.assertIn("gone for good", self.refused("remove", "1", "--force", mesh=lab).message)
        lab.pool("wide", "rep:4")
        refused = self.refused("drain", "3", mesh=lab)
        self.assertIn("pool 'wide' is rep:4 and takes 4 corelets", refused.message)
        self.assertEqual(lab.corelet(3)["state"], "up")
        lab.run("pool", "rm", "wide")
        lab.run("drain", "3")
        self.assertEqual(lab.corelet(3)["state"], "draining")
        lab.run("undrain", "3")
        self.wait_until(lambda: lab.corelet(3)["state"] == "up" and lab.status()["health"] == "ok", "called off")
        self.assertEqual(self.refused("drain", "9", mesh=lab).code, "not found")

    def test_one_that_is_gone_for_good_is_removed_by_force(self):
        lab = self.lab(4, out_after="10min")
        uri = lab.volume("v", "64M", redundancy="rep:3", at="1")
        data = self.pattern_file("data", 32 * MIB)
        self.copy_in(data, uri)
        lab.kill(4)
        self.wait_until(lambda: lab.corelet(4)["state"] == "down", "it is down")
        self.assertIn("--force", self.refused("remove", "4", mesh=lab).message)
        removed = lab.json("remove", "4", "--force")
        self.assertEqual(removed["lost"], [], "two other copies are there")
        self.wait_until(lambda: lab.status()["health"] == "ok", "the three others make it whole, without waiting 10 min")
        self.assert_holds(uri, data)

    def test_a_cordoned_one_gets_nothing_new(self):
        lab = self.lab(5)
        lab.volume("v", "64M", redundancy="rep:2", at="1")
        cordoned = lab.corelet(3)["id"]
        self.assertEqual(lab.json("cordon", "3")["pools_bound_to_it"], [])
        self.assertTrue(lab.corelet(3)["cordoned"])
        self.assertIn("cordoned: 3", lab.run("status"))
        self.assertIn("cordoned", self.refused("volume", "attach", "v", "--at", "3", mesh=lab).message)
        before = self.fragments(lab, 3)
        lab.volume("w", "64M", at="2")
        self.copy_in(self.pattern_file("data", 48 * MIB), lab.volume_status("w")["uri"])
        info = lab.info("w")
        self.assertNotIn(cordoned, info["open_segment"] + sum(info["standbys"], []))
        self.wait_until(lambda: lab.volume_status("w")["unpacked_bytes"] == 0, "it is packed")
        self.assertEqual(self.fragments(lab, 3), before)
        self.assertGreater(self.fragments(lab, 4), 0)
        lab.run("uncordon", "3")
        self.assertFalse(lab.corelet(3)["cordoned"])

    def fragments(self, lab, number):
        return lab.corelet(number)["fragments"]

    def test_healing_that_is_paused(self):
        lab = self.lab(4, out_after="2s")
        uri = lab.volume("v", "64M", redundancy="rep:3", at="1")
        data = self.pattern_file("data", 16 * MIB)
        self.copy_in(data, uri)
        self.assertIn("end", self.refused("pause", "--for", "25h", mesh=lab).message)
        lab.run("pause", "--for", "1h")
        self.wait_until(lambda: lab.status()["healing"]["paused"], "it is paused")
        ends = lab.status()["healing"]["paused_until_unix"]
        self.assertTrue(3400 < ends - time.time() < 3700, ends)
        self.assertIn("healing is paused until", lab.run("status"))
        lab.kill(4)
        self.wait_until(lambda: lab.corelet(4)["state"] == "down", "it is down")
        down_at = time.monotonic()
        self.wait_until(lambda: time.monotonic() - down_at > 6, "three times as long as it takes to be put out")
        self.assertEqual(lab.corelet(4)["state"], "down", "nobody is put out")
        self.assert_holds(uri, data)
        lab.run("resume")
        self.wait_until(lambda: lab.corelet(4)["state"] == "out", "now it is")
        self.wait_until(lambda: lab.status()["health"] == "ok", "and healed")
        self.assertFalse(lab.status()["healing"]["paused"])


if __name__ == "__main__":
    meshes.main()
