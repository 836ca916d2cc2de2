"""Faults of the disk under a real process (CORELET_DISK_FAULTS, src/app/tool/disk_faults.h): what the mesh makes of a disk that fails, is
full, hangs or changes bits, under a client that remembers what it was promised."""
import os
import re

import meshes
from faulty import FaultyTest
from meshes import MIB, Failed


class DiskFaults(FaultyTest):
    @staticmethod
    def injected(lab, number):
        """How often so far."""
        return int(re.search(r"injected (\d+) times", lab.corelet(number)["disk_faults"])[1])

    def more(self, load, count=200):
        reached = load.acknowledged + count
        self.wait_until(lambda: load.acknowledged >= reached or load.errors, f"{count} more writes are acknowledged", 120)
        self.assertEqual(load.errors, [])

    def becomes_failing(self, lab, number, why):
        self.wait_until(lambda: lab.corelet(number)["state"] == "failing" or None, f"corelet {number} is failing", 120)
        self.assertIn("the device has failed", lab.corelet(number)["trouble"])
        self.assertIn(why, lab.corelet(number)["trouble"])

    def test_it_is_said_and_without_rules_nothing_is_injected(self):
        lab = self.faulty_lab(1)
        self.assertIn("0 rules, injected 0 times", lab.corelet(1)["disk_faults"])
        self.assertRegex(lab.run("status"), r"TEST: faults are injected into the disk of corelet 1 by .*/c1/faults")
        self.assertIn("THIS IS A TEST", lab.log(1, 10000))
        os.environ.pop("CORELET_DISK_FAULTS")
        lab.kill(1)
        lab.start(1)
        self.wait_until(lambda: lab.corelet(1)["answers"], "it runs again")
        self.assertEqual(lab.corelet(1)["disk_faults"], "")
        self.assertNotIn("TEST", lab.run("status"))

    def test_a_failed_sync_of_a_replica_and_then_of_the_owner(self):
        lab = self.faulty_lab(5)
        lab.volume("v", redundancy="rep:3", at="1")
        load = self.begin(lab, reads=0.2)
        replica = self.replica(lab)
        self.inject(lab, replica, "error sync 3")
        self.becomes_failing(lab, replica, "Input/output error")
        self.more(load)
        owner = self.wait_until(lambda: lab.owner("v"), "somebody owns it")
        self.inject(lab, owner, "error sync 3")
        self.becomes_failing(lab, owner, "Input/output error")
        self.wait_until(lambda: lab.owner("v") not in (None, owner, replica) and lab.volume_status("v")["served"], "another serves it", 120)
        self.more(load)
        # The rules are gone, and all the same it takes no write again, after a restart neither: a failed sync is final.
        for number in (owner, replica):
            self.inject(lab, number)
            lab.kill(number)
            with self.assertRaises(Failed) as refused:
                lab.start(number)
            self.assertIn("it failed in an earlier mount", refused.exception.message)
        self.more(load)
        self.finish(load)

    def test_a_full_disk_of_the_host_is_told(self):
        lab = self.faulty_lab(4)
        lab.volume("v", redundancy="rep:3", at="1")
        load = self.begin(lab)
        replica = self.replica(lab)
        self.inject(lab, replica, "full write 1+")
        self.becomes_failing(lab, replica, "No space left on device")
        self.assertIn("No space left on device", lab.run("status"))
        self.more(load)
        self.finish(load)

    def test_a_stuck_disk_is_rolled_away_from(self):
        lab = self.faulty_lab(5)
        lab.volume("v", redundancy="rep:3", at="1")
        load = self.begin(lab)
        replica = self.replica(lab)
        self.inject(lab, replica, "stuck write 1+", "stuck sync 1+")
        self.more(load, 500)
        self.assertGreater(self.injected(lab, replica), 0)
        self.wait_until(lambda: lab.corelet(replica)["id"] not in lab.info("v")["open_segment"], "the open segment avoids it", 120)
        self.inject(lab, replica)
        self.more(load)
        self.wait_until(lambda: lab.status()["health"] == "ok", "and it is one of them again", 120)
        self.assertEqual(lab.corelet(replica)["trouble"], "", "slow is not failed")
        self.finish(load)

    def test_the_owner_that_leads_the_catalog_has_a_stuck_disk(self):
        lab = self.faulty_lab(5)
        lab.volume("v", redundancy="rep:3", at="1")
        load = self.begin(lab, patience=180)
        leader = lab.status()["catalog"]["leader"]
        if lab.corelet(1)["id"] != leader:
            lab.attach("v", at=leader)
            self.more(load)
        stuck = lab.number(leader)
        self.inject(lab, stuck, "stuck write 1+", "stuck sync 1+")
        # It cannot commit a change of the catalog, and all the same it must not stay the one who says that it leads.
        self.wait_until(lambda: lab.status()["catalog"]["leader"] not in (None, leader), "another leads the catalog", 120)
        self.more(load, 500)
        self.inject(lab, stuck)
        self.wait_until(lambda: lab.status()["health"] == "ok", "whole again", 180)
        self.finish(load)

    def test_flipped_bits_are_noticed_and_repaired(self):
        lab = self.faulty_lab(4)
        uri = lab.volume("v", "32M", redundancy="ec:2+1", at="1")
        data = self.pattern_file("data", 32 * MIB)
        self.copy_in(data, uri)
        self.wait_until(lambda: lab.volume_status("v")["unpacked_bytes"] == 0, "all is packed", 120)
        before = lab.status()["healing"]["fragments_rebuilt"]
        self.inject(lab, 3, "flip read 1+")
        self.assert_holds(lab.attach("v", at="2"), data)  # an owner whose cache is empty
        self.assertGreater(self.injected(lab, 3), 0)
        # What it read was wrong each time; the media are not. Healing reads again, and what still does not verify is rebuilt from the others.
        self.wait_until(lambda: "heal.damaged" in lab.log(3, 100000), "it noticed the damage", 120)
        self.inject(lab, 3)
        self.wait_until(lambda: lab.status()["healing"]["fragments_rebuilt"] > before, "what was damaged is rebuilt", 120)
        self.wait_until(lambda: lab.status()["health"] == "ok", "whole", 120)
        self.assert_holds(lab.attach("v", at="4"), data)


if __name__ == "__main__":
    meshes.main()
