"""How fast healing goes: its limits, what status says of it, and what it leaves to clients."""
import time

import meshes
from meshes import MIB, SystemTest


class Healing(SystemTest):
    def filled(self, corelets, megabytes=48):
        """A lab whose pool has chunks, and a corelet that does not own the volume."""
        lab = self.lab(corelets)
        lab.volume("v", size=f"{megabytes * 2}M", redundancy="ec:2+1", at="1")
        source = self.pattern_file("source", megabytes * MIB)
        self.copy_in(source, lab.volume_status("v")["uri"])
        self.wait_until(lambda: lab.volume_status("v")["unpacked_bytes"] == 0 and lab.status()["corelets"][corelets - 1]["fragments"] != 0,
                        "everything is packed")
        return lab, source

    def test_a_limit_is_set_shown_kept_and_taken_away(self):
        lab, source = self.filled(6)
        self.assertIn("no limit", lab.run("heal", "limit"))
        said = lab.json("heal", "limit", "--mesh", "256K", "--corelet", "100M/s")
        self.assertEqual(said, {"corelet_bytes_per_second": 100 * MIB, "mesh_bytes_per_second": MIB // 4})
        self.assertIn("by each corelet: 100 MiB/s; by all together: 256 KiB/s", lab.run("heal", "limit"))
        lab.kill(6)
        self.wait_until(lambda: lab.status()["healing"]["bytes_left"] != 0, "it is missed")
        time.sleep(12)  # without a limit it takes one
        healing = lab.status()["healing"]
        self.assertGreater(healing["bytes_left"], 0, healing)
        self.assertEqual(healing["slowed_by"], "the limit of the mesh", healing)
        self.assertIn("held to that by the limit of the mesh", lab.run("status"))
        self.assertIn("all together: no limit", lab.run("heal", "limit", "--mesh", "none", "--corelet", "none"))
        self.wait_until(lambda: lab.status()["healing"]["bytes_left"] == 0, "whole again, at full speed", limit=30)
        self.assert_holds(lab.volume_status("v")["uri"], source)

    def test_what_is_refused(self):
        lab = self.lab(3)
        for rate, what in (("0", "would stop healing"), ("fast", "fast"), ("-1", "-1")):
            self.assertIn(what, self.refused("heal", "limit", f"--mesh={rate}", mesh=lab).message)

    def test_scrubbing_and_audits_are_counted(self):
        lab, _ = self.filled(4, megabytes=8)
        healing = self.wait_until(lambda: (h := lab.status()["healing"])["scrubbed_since_unix"] and h, "all of it was read again")
        self.assertLess(abs(healing["scrubbed_since_unix"] - time.time()), 600)
        self.assertEqual(healing["scrub_pass_seconds"], 7 * 24 * 3600)
        self.wait_until(lambda: lab.status()["healing"]["audits"] >= 2, "corelets challenge each other")
        self.assertEqual(lab.status()["healing"]["audits_failed"], 0)
        self.assertEqual(sum(lab.status()["healing"]["found_damaged"].values()), 0)


if __name__ == "__main__":
    meshes.main()
