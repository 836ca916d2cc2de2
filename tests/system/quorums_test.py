"""Pools with a write quorum, a read quorum and a repair threshold: named when a pool is made, shown, refused where they make no sense; and what two
lost corelets set off."""
import meshes
from meshes import MIB, SystemTest


class Quorums(SystemTest):
    def test_they_are_named_shown_and_refused(self):
        lab = self.lab(6)
        lab.pool("p", "ec:4+2", "--write-quorum", 5, "--repair-threshold", 4)
        lab.pool("plain", "rep:2")
        pools = {pool["name"]: pool for pool in lab.status()["pools"]}
        self.assertEqual([pools["p"][key] for key in ("write_quorum", "read_quorum", "repair_threshold")], [5, 4, 4])
        self.assertEqual([pools["plain"][key] for key in ("write_quorum", "repair_threshold")], [0, 0])
        listed = lab.run("pool", "ls")
        self.assertIn("ec:4+2 5/4/4", listed)
        self.assertIn("rep:2 ", listed)
        said = lambda *options: self.refused("pool", "create", "q", *options, mesh=lab).message
        self.assertIn("ec:10+4 needs 14 corelets", said("--profile", "datacenter"))
        self.assertIn("there is no profile 'attic'; there is datacenter", said("--profile", "attic"))
        self.assertIn("leave --redundancy out", said("--profile", "datacenter", "--redundancy", "ec:4+2"))
        self.assertIn("write_quorum is from 5 to 6", said("--redundancy", "ec:4+2", "--write-quorum", 4))
        self.assertIn("read_quorum is from 4 to 6", said("--redundancy", "ec:4+2", "--read-quorum", 7))
        self.assertIn("repair_threshold is from 4 to 5", said("--redundancy", "ec:4+2", "--repair-threshold", 6))
        self.refused("pool", "create", "q", mesh=lab, exit_code=2)

    def test_two_lost_are_repaired_before_they_are_out(self):
        lab = self.lab(9, out_after="100s")
        lab.pool("p", "ec:4+2", "--write-quorum", 5, "--repair-threshold", 4)
        uri = lab.volume("v", size="128M", at=1)
        path = self.pattern_file("data", 64 * MIB)
        self.copy_in(path, uri)
        self.wait_until(lambda: lab.status()["health"] == "ok", "everything is packed and whole")
        lab.kill(8)
        states = lambda: [c["state"] for c in lab.status()["corelets"]]
        self.wait_until(lambda: states().count("down") == 1, "one is known to be down")
        self.assertEqual(lab.status()["pools"][0]["tables"], 1, "and nobody takes its place")
        rebuilt = lambda: lab.status()["healing"]["bytes_done"]
        before = rebuilt()
        lab.kill(9)
        self.wait_until(lambda: lab.status()["pools"][0]["tables"] == 2, "others take their places where both are missed")
        self.wait_until(lambda: rebuilt() > before, "what both held is rebuilt")
        self.assertEqual(states().count("down"), 2, "and neither is out")
        self.assert_holds(uri, path)
        lab.start(8, 9)
        self.wait_until(lambda: lab.status()["health"] == "ok" and lab.status()["pools"][0]["tables"] == 1, "they come back to their places")
        self.assert_holds(uri, path)


if __name__ == "__main__":
    meshes.main()
