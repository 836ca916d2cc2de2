"""Health of each part, and the event log, with real processes: a hung process, a device that hangs, is slow or full, a cut link. Each is named
at its own level (docs/guide/status.md), and a slow device is gone round."""
import json
import subprocess
import unittest

import meshes
from faulty import FaultyTest
from meshes import CORELET

NOWHERE = "02:00:00:00:00:01"  # nobody has this address


class Health(FaultyTest):
    @staticmethod
    def finding(lab, number, part, level):
        return next((f for f in lab.corelet(number)[part]["findings"] if f["level"] == level), None)

    def events(self, lab, number, subject, level):
        name = lab.corelet(number)["id"]
        return [e for e in lab.json("events")["events"] if (e["subject"], e["name"], e["level"]) == (subject, name, level)]

    def test_a_device_that_is_slow_hangs_or_is_full_and_a_process_that_hangs(self):
        """How fast a device is shows over windows of five seconds (src/node/device_watch.h): what is found at once is looked at meanwhile, in a second
        mesh."""
        lab = self.faulty_lab(6)
        lab.volume("v", redundancy="rep:3", at="2")
        load = self.begin(lab, rate=500)
        other = self.faulty_lab(5, name="other")
        other.volume("v", redundancy="rep:3", at="1")
        beside = self.begin(other, rate=500)
        stuck = self.a_device_that_hangs_is_named_as_storing(other)
        usual = self.wait_until(lambda: lab.corelet(2)["device_speed"]["writes"]["usual_us"], "it is known how fast the device is")
        slow = lab.corelet(2)["id"]
        self.inject(lab, 2, f"slow write 1+ {max(40, usual * 10 // 1000)}ms")
        self.a_process_that_hangs_is_named_as_serving(other, besides=[1, stuck])  # the first is asked for status
        finding = self.wait_until(lambda: self.finding(lab, 2, "device_health", "storing"), "it is found to be slow")
        self.assertEqual(finding["state"], "degraded")
        self.wait_until(lambda: lab.owner("v") not in (None, 2) and slow not in (info := lab.info("v"))["open_segment"]
                        and info["standbys"] and not any(slow in standby for standby in info["standbys"]), "log and owner are elsewhere")
        self.assertEqual(lab.corelet(2)["state"], "up")
        self.inject(lab, 2)
        self.a_full_disk_of_the_host_is_named_as_storing(other, besides=[1, stuck])
        self.finish(beside)
        self.wait_until(lambda: lab.corelet(2)["device_health"]["state"] == "healthy", "it is as fast as ever, and that is seen")
        self.finish(load)

    def a_device_that_hangs_is_named_as_storing(self, lab):
        stuck = self.replica(lab, besides=[1])
        self.inject(lab, stuck, "stuck write 1+", "stuck sync 1+")
        finding = self.wait_until(lambda: self.finding(lab, stuck, "device_health", "storing"), "its device is named")
        self.assertIn(finding["state"], ("degraded", "failed"))
        self.assertIn(f"device of corelet {stuck}", lab.run("status"))
        self.inject(lab, stuck)
        self.wait_until(lambda: lab.corelet(stuck)["device_health"]["state"] == "healthy", "healthy again")
        self.assertEqual(lab.corelet(stuck)["trouble"], "")
        return stuck

    def a_process_that_hangs_is_named_as_serving(self, lab, besides):
        hung = self.replica(lab, besides=besides)
        follower = subprocess.Popen([CORELET, "--json", "--dir", lab.directory, "events", "--follow"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(follower.wait)
        self.addCleanup(follower.kill)
        lab.kill(hung, sig="STOP")
        try:
            finding = self.wait_until(lambda: (f := self.finding(lab, hung, "health", "serving")) and f["by"] and f, "those whose requests wait say so")
        finally:
            lab.kill(hung, sig="CONT")
        self.assertEqual(finding["state"], "degraded", finding)
        own = lab.corelet(hung)["id"]

        def told():
            return [e for e in self.events(lab, hung, "corelet", "serving") if e["corelet"] == own and "its loop stood still for" in e["reason"]]
        self.wait_until(told, "it says itself for how long it stood still")
        self.assertTrue([e for e in self.events(lab, hung, "corelet", "serving") if e["corelet"] != own], "and so did others")
        # Whoever follows has seen it too, from the process that it asked.
        for line in follower.stdout:
            event = json.loads(line)
            if event["name"] == own and event["level"] == "serving":
                break
        self.assertRegex(lab.run("events"), rf"serving +corelet {hung}: healthy -> degraded, ")
        self.wait_until(lambda: lab.corelet(hung)["health"]["state"] == "healthy", "healthy again")
        self.assertEqual(self.events(lab, hung, "device", "storing"), [], "its device had no part in it")

    def a_full_disk_of_the_host_is_named_as_storing(self, lab, besides):
        full = self.replica(lab, besides=besides)
        self.inject(lab, full, "full write 1+")
        finding = self.wait_until(lambda: self.finding(lab, full, "device_health", "storing"), "its device is named")
        self.assertEqual(finding["state"], "failed")
        self.assertIn("No space left on device", finding["reason"])
        self.wait_until(lambda: self.events(lab, full, "device", "storing"), "and in the log")

    @unittest.skipUnless(meshes.may_make_networks(), "network namespaces take root and iproute2")
    def test_a_cut_link_is_named_as_reachable(self):
        lab = self.lab(4, net="tcp")
        with open(f"{lab.directory}/lab.json", encoding="utf-8") as file:
            bridge = json.load(file)["bridge"]
        host = lab.corelet(3)["address"].removeprefix("tcp:").rpartition(":")[0]
        self.tool("ip", "-n", f"corelet-{bridge[2:]}-2", "neigh", "replace", host, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent")
        finding = self.wait_until(lambda: self.finding(lab, 3, "health", "reachable"), "somebody does not reach it")
        self.assertEqual(finding["state"], "degraded")
        self.assertRegex(finding["reason"], f"^not from corelet {lab.corelet(2)['id']}, but through ")
        self.assertEqual(lab.corelet(3)["state"], "up")
        self.tool("ip", "-n", f"corelet-{bridge[2:]}-2", "neigh", "del", host, "dev", "eth0")
        self.wait_until(lambda: lab.corelet(3)["health"]["state"] == "healthy", "mended")


if __name__ == "__main__":
    meshes.main()
