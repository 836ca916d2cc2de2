"""The catalog as a text, what is wrong with it, and the way back when most voters are gone for good."""
import json
import os

import meshes
from meshes import MIB, SystemTest, run_corelet, socket_of
from load import Load


class Export(SystemTest):
    def test_export_and_check(self):
        lab = self.lab(3)
        lab.volume("v", "64M", redundancy="rep:2", at="1")
        path = self.path("catalog")
        about = lab.json("catalog", "export", path)
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual(lines[0]["corelet_catalog"], 1)
        self.assertTrue(lines[0]["live"])
        self.assertEqual(lines[-1]["lines"], len(lines) - 1)
        keys = [line["text"] for line in lines if "key" in line]
        self.assertEqual(len(keys), about["keys"])
        for key in ("map", "volumes/v", "counters/space"):
            self.assertIn(key, keys)
        self.assertEqual(os.stat(path).st_mode & 0o077, 0, "for its owner only")
        for found in (lab.json("catalog", "check"), lab.json("catalog", "check", path)):
            self.assertEqual([f for f in found["findings"] if f["grade"] == "error"], [])
            self.assertEqual(found["keys"], len(keys))
        self.assertIn("0 errors", lab.run("catalog", "check"))
        with open(path, "r+b") as file:
            file.seek(200)
            file.write(b"#")
        self.assertEqual(self.refused("catalog", "check", path, mesh=lab).code, "corrupt")
        self.assertEqual(self.refused("catalog", "export", "--from-device", directory=f"{lab.directory}/c2").code, "conflict")


class MostVotersGone(SystemTest):
    def lose_most(self, **options):
        """A mesh of five, all voters, under load; three of them, with their devices, are gone."""
        lab = self.lab(5, **options)
        lab.pool("p", "rep:4", "--min-copies", "1")  # promises the loss of any three
        self.wait_until(lambda: len(lab.status()["catalog"]["voters"]) == 5, "all five vote")
        lab.volume("d", "64M", at="5")
        data = self.pattern_file("data", 32 * MIB)
        self.copy_in(data, lab.volume_status("d")["uri"])
        lab.volume("v", "64M", at="2")
        load = Load(socket_of(lab.volume_status("v")["uri"]), "v", 64 * MIB // 4096, patience=600)
        self.addCleanup(load.stop)
        self.wait_until(lambda: load.acknowledged > 3000 or load.errors, "the load runs")
        ids = [c["id"] for c in lab.status()["corelets"]]
        lab.kill(1, 2, 3)
        for number in (1, 2, 3):
            os.rename(f"{lab.directory}/c{number}/device", self.path(f"gone{number}"))
        self.wait_until(lambda: not lab.status()["catalog"]["available"], "the catalog has no quorum")
        return lab, load, data, ids

    def recover(self, lab, ids):
        begin = f"{lab.directory}/c4"
        lost = [word for id in ids[:3] for word in ("--lost", id)]
        self.assertIn("stop all", self.refused("catalog", "recover", *lost, directory=begin).message)
        lab.kill(4, 5, sig="TERM")
        self.assertIn("was not asked", self.refused("catalog", "recover", "--from", f"{lab.directory}/c5", directory=begin).message)
        exported = self.path("five")
        run_corelet("catalog", "export", exported, "--from-device", directory=f"{lab.directory}/c5")
        for source in (f"{lab.directory}/c5", exported):  # one or the other
            said = json.loads(run_corelet("--json", "catalog", "recover", "--dry-run", "--from", source, *lost, directory=begin))
            self.assertEqual(said["generation"], 1)
        said = run_corelet("catalog", "recover", "--from", exported, *lost, directory=begin)
        self.assertIn("LOST: what the catalog had committed and only the lost voters knew", said)
        lab.start(4, 5)
        self.wait_until(lambda: lab.status()["catalog"]["available"], "the catalog is there")

    def test_volumes_serve_again_and_nothing_acknowledged_is_lost(self):
        lab, load, data, ids = self.lose_most(out_after="10min")
        self.recover(lab, ids)
        status = lab.status()
        self.assertTrue(status["catalog"]["recovered"])
        self.assertIn("the catalog was recovered", lab.run("status"))
        self.wait_until(lambda: lab.volume_status("d")["served"] and lab.volume_status("v")["served"], "both volumes are served")
        reached = load.acknowledged + 500
        self.wait_until(lambda: load.acknowledged >= reached or load.errors, "the client goes on where it was")
        self.assert_holds(lab.volume_status("d")["uri"], data)
        findings = lab.json("catalog", "check")["findings"]
        self.assertEqual([f for f in findings if f["grade"] == "error"], [])
        lab.start(1, 2, 3, empty=True)  # new devices in the places of the lost
        self.wait_until(lambda: len(lab.status()["catalog"]["voters"]) == 5 and lab.status()["health"] == "ok", "whole again", limit=300)
        load.stop()
        load.verify()
        self.assertEqual(load.errors, [])
        lab.run("catalog", "accept")
        self.wait_until(lambda: not lab.status()["catalog"]["recovered"], "agreed")
        self.assert_holds(lab.volume_status("d")["uri"], data)

    def test_the_lost_that_come_back_are_outvoted(self):
        lab, load, data, ids = self.lose_most(out_after="10min")
        self.recover(lab, ids)
        leader = self.wait_until(lambda: lab.status()["catalog"]["leader"], "somebody leads")
        self.assertIn(leader, ids[3:])
        for number in (1, 2, 3):  # a majority of the former group
            os.rename(self.path(f"gone{number}"), f"{lab.directory}/c{number}/device")
        lab.start(1, 2, 3)
        self.wait_until(lambda: len(lab.status()["catalog"]["voters"]) == 5 and lab.status()["health"] == "ok", "they are let in anew", limit=300)
        load.stop()
        load.verify()
        self.assertEqual(load.errors, [])
        self.assertTrue(lab.status()["catalog"]["recovered"], "it is the recovered catalog that they follow")
        self.assert_holds(lab.volume_status("d")["uri"], data)


if __name__ == "__main__":
    meshes.main()
