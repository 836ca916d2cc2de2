"""`lab --net tcp`: each corelet in a network namespace of its own, and what can be done to the network between them."""
import os
import shutil
import subprocess
import unittest

import meshes
from janitor import kill_processes
from load import Load
from meshes import CORELET, SystemTest, run_corelet, socket_of

MAY = meshes.may_make_networks()


def namespace(pid):
    return os.readlink(f"/proc/{pid}/ns/net")


def interfaces():
    """What labs have on this machine."""
    names = [name for name in os.listdir("/sys/class/net") if name.startswith("cl")]
    return sorted(names + [name for name in (os.listdir("/run/netns") if os.path.isdir("/run/netns") else []) if name.startswith("corelet-")])


@unittest.skipUnless(MAY, "network namespaces take root and iproute2")
class Networks(SystemTest):
    def setUp(self):
        super().setUp()
        self.before = interfaces()

    def test_each_in_a_namespace_of_its_own_and_partitions(self):
        lab = self.lab(3, net="tcp", zones=3)
        pids = lab.pids()
        self.assertEqual(len({namespace(pid) for pid in pids} | {namespace("self")}), 4)
        status = lab.status()
        self.assertTrue(status["insecure"], "and says so")
        addresses = [c["address"] for c in status["corelets"]]
        self.assertTrue(all(address.startswith("tcp:10.") for address in addresses), addresses)
        uri = lab.volume("v", "64M", redundancy="rep:2", at="1")
        load = Load(socket_of(uri), "v", 16384)
        self.addCleanup(load.stop)
        self.wait_until(lambda: load.acknowledged > 100 or load.errors, "the load runs")

        self.commands_at_an_address(lab, addresses[1].removeprefix("tcp:"))

        self.assertEqual(lab.json("lab", "partition", "3"), {"cut_off": [3]})
        self.wait_until(lambda: lab.corelet(3)["state"] == "down", "the two see the third as down")
        alone = f"unix:{lab.directory}/c3/corelet.sock"
        self.wait_until(lambda: "quorum" in run_corelet("--connect", alone, "status"), "and it sees that it has no quorum")
        reached = load.acknowledged
        self.wait_until(lambda: load.acknowledged > reached + 100 or load.errors, "the two go on")
        lab.run("lab", "mend")
        self.wait_until(lambda: lab.corelet(3)["state"] == "up" and lab.status()["health"] == "ok", "mended, and whole")
        lab.run("lab", "mend")  # again is harmless

        # The owner cut off: the others serve the volume at the same path, and are asked rather than it.
        lab.run("lab", "partition", "1")
        self.wait_until(lambda: lab.owner("v") in (2, 3) and lab.volume_status("v")["served"], "another serves it")
        reached = load.acknowledged
        self.wait_until(lambda: load.acknowledged > reached + 100 or load.errors, "the client goes on with the new owner")
        lab.run("lab", "mend")
        self.wait_until(lambda: lab.status()["health"] == "ok", "mended, and whole")
        load.stop()
        load.verify()
        self.assertEqual(load.errors, [])

        lab.run("lab", "partition", "2,3")
        lab.run("lab", "down")
        self.assertEqual(interfaces(), self.before, "nothing is left")
        lab.up()  # whole: a partition does not outlive the lab's processes
        lab.run("lab", "down", "--wipe")
        self.assertEqual(interfaces(), self.before)

    def test_two_that_do_not_reach_each_other_talk_through_a_third(self):
        lab = self.lab(4, net="tcp", zones=4)
        uri = lab.volume("v", "64M", redundancy="rep:3", at="1")
        load = Load(socket_of(uri), "v", 16384)
        self.addCleanup(load.stop)
        self.wait_until(lambda: load.acknowledged > 100 or load.errors, "the load runs")
        self.assertEqual(lab.json("lab", "partition", "1", "--from", "2"), {"cut_off": [1], "cut_from": [2]})
        ids = {corelet["index"]: corelet["id"] for corelet in lab.status()["corelets"]}
        between = lambda: {(path["from"], path["to"]): path["through"] for path in lab.status()["paths"]}
        self.wait_until(lambda: (ids[1], ids[2]) in between() and (ids[2], ids[1]) in between(), "both find it out")
        self.assertLessEqual(set(between().values()), {ids[3], ids[4]})
        self.assertIn("does not reach", lab.run("status"))
        reached = load.acknowledged
        self.wait_until(lambda: load.acknowledged > reached + 500 or load.errors, "the load goes on")
        self.assertEqual([corelet["state"] for corelet in lab.status()["corelets"]], ["up"] * 4)
        self.assertEqual(lab.owner("v"), 1)
        lab.run("lab", "mend")
        self.wait_until(lambda: not lab.status()["paths"], "and they talk directly again")
        self.wait_until(lambda: lab.status()["health"] == "ok", "whole")
        load.stop()
        load.verify()
        self.assertEqual(load.errors, [])

    def commands_at_an_address(self, lab, address):
        """From this machine, beyond the corelet's own: with the directory's key, and not without."""
        status = run_corelet("--json", "--connect", address, "--dir", lab.directory, "status")
        self.assertIn(lab.status()["mesh"], status)
        self.assertEqual(self.refused("--connect", address, "status").code, "denied")

    def test_what_a_crash_left_is_removed_by_the_next(self):
        lab = self.lab(2, net="tcp")
        # The directory is lost under the running lab, and somebody has cleaned up half of it.
        shutil.rmtree(lab.directory)
        half = next(name for name in interfaces() if name.startswith("corelet-") and name not in self.before)
        left = set(interfaces()) - set(self.before)
        self.tool("ip", "netns", "del", half)
        lab.up(1, net="tcp", size="256M")
        self.assertEqual(len(lab.pids()), 1, "of the former lab no process is left")
        self.assertLess(len(set(interfaces()) - set(self.before)), len(left))
        # All processes and a namespace die: up makes it whole again, whether the kernel has removed its wire by then or does so meanwhile.
        for _ in range(5):
            kill_processes(lab.directory)
            self.tool("ip", "netns", "del", next(name for name in interfaces() if name.startswith("corelet-") and name not in self.before))
            self.assertEqual(lab.up()["health"], "ok")
        lab.run("lab", "down", "--wipe")
        self.assertEqual(interfaces(), self.before)

    def test_without_root_it_says_what_to_do(self):
        program = self.path("corelet")
        shutil.copy(CORELET, program)
        os.chmod(self.folder, 0o777)
        done = subprocess.run([program, "lab", "up", "--corelets", "1", "--net", "tcp", "--dir", self.path("lab")], capture_output=True, text=True,
                              timeout=30, check=False, user=65534, group=65534, extra_groups=[], cwd="/")
        self.assertEqual(done.returncode, 1)
        self.assertIn("root", done.stderr)
        self.assertIn("--net", done.stderr)


if __name__ == "__main__":
    meshes.main()
