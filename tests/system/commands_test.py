"""The commands that people type at a mesh made by hand, in both forms that they speak: for people and as JSON."""
import json
import os
import signal
import stat
import subprocess
import unittest

import meshes
from meshes import CORELET, MIB, Failed, Mesh, SystemTest, free_port, run_corelet, socket_of


class ByHand(SystemTest):
    """init, join, serve: corelets in directories of their own."""

    def setUp(self):
        super().setUp()
        self.ids = {}

    def make(self, name, *options, verb="init", size="256M"):
        directory = self.path(name)
        made = json.loads(run_corelet("--json", verb, "--dir", directory, "--device", f"{directory}/device:{size}", *options))
        self.assertEqual(made["directory"], directory)
        self.ids[directory] = made["id"]
        return directory

    def serve(self, directory):
        process = subprocess.Popen([CORELET, "serve", "--dir", directory], stdout=subprocess.DEVNULL, stderr=open(directory + "/said", "ab"))
        self.addCleanup(process.wait)  # after the janitor
        self.addCleanup(process.kill)
        mesh = self.mesh(directory)
        self.wait_until(mesh.status, f"{directory} answers")
        return mesh, process

    def test_a_mesh_of_three_and_a_witness(self):
        one = self.make("one", "--location", "z1/r1/c1")
        mesh, _ = self.serve(one)
        status = self.wait_until(lambda: (s := mesh.status())["health"] == "ok" and s["corelets"] and s, "a mesh of one is ok: it gives all that it can")
        self.assertEqual([(c["location"], c["role"], c["voter"]) for c in status["corelets"]], [("z1/r1/c1", "storage", True)])
        seed = f"unix:{one}/corelet.sock"
        for name, location, options in (("two", "z2/r1/c1", ()), ("three", "z3/r1/c1", ()), ("four", "z4/r1/c1", ("--witness",))):
            joined = self.make(name, "--seed", seed, "--location", location, *options, verb="join", size="32M" if options else "256M")
            self.serve(joined)
        status = self.wait_until(lambda: (s := mesh.status())["health"] == "ok" and len(s["corelets"]) == 4 and s, "all four are in")
        self.assertEqual(sorted((c["location"], c["role"]) for c in status["corelets"]),
                         [("z1/r1/c1", "storage"), ("z2/r1/c1", "storage"), ("z3/r1/c1", "storage"), ("z4/r1/c1", "witness")])
        # Each finds the same mesh, and the key of the mesh is that of its first directory.
        self.assertEqual({Mesh(self.path(name)).status()["mesh"] for name in ("one", "two", "three", "four")}, {status["mesh"]})
        keys = set()
        for name in ("one", "two", "three", "four"):
            self.assertEqual(stat.S_IMODE(os.stat(self.path(name) + "/admin.key").st_mode), 0o600)
            with open(self.path(name) + "/admin.key", encoding="ascii") as file:
                keys.add(file.read())
        self.assertEqual(len(keys), 1)
        self.assertGreaterEqual(len(keys.pop().strip()), 32)

    def test_term_hands_volumes_over(self):
        mesh, first = self.serve(self.make("one"))
        seed = f"unix:{self.path('one')}/corelet.sock"
        for name in ("two", "three"):
            self.serve(self.make(name, "--seed", seed, verb="join"))
        self.wait_until(lambda: len(mesh.status()["corelets"]) == 3 and mesh.status()["health"] == "ok", "all three are in")
        owner = self.ids[mesh.directory]
        mesh.volume("v", redundancy="rep:3", at=owner)
        self.assertEqual(mesh.volume_status("v")["owner"], owner)
        first.send_signal(signal.SIGTERM)
        # It ends by itself and in order.
        self.assertEqual(first.wait(timeout=60), 0)
        second = Mesh(self.path("two"))
        after = self.wait_until(lambda: (v := second.volume_status("v"))["served"] and v, "another corelet serves it")
        self.assertNotEqual(after["owner"], owner)
        self.assertEqual(after["epoch"], 2, "one took it, and none in between")

    def test_what_is_refused(self):
        one = self.make("one")
        self.assertIn("corelet serve", self.refused("init", "--dir", one, "--device", one + "/device:256M").message)
        # A device that holds something is not formatted without being told so.
        self.assertIn("--force", self.refused("init", "--dir", self.path("other"), "--device", one + "/device").message)
        self.assertEqual(self.refused("serve", "--dir", self.path("nothing")).code, "not found")
        self.assertIn("corelet serve", self.refused("status", directory=one).message)
        self.assertEqual(self.refused("status", directory=self.path("nothing")).code, "not found")
        self.assertEqual(self.refused("status").code, "invalid")
        self.assertIn("serve", self.refused("join", "--dir", self.path("two"), "--device", self.path("two") + "/device:256M", "--seed",
                                            f"unix:{one}/corelet.sock").message)
        self.assertFalse(os.path.exists(self.path("two") + "/device"))
        self.refused("status", "--no-such-option", exit_code=2)
        self.refused("volume", "create", "v", exit_code=2)

    def test_beyond_loopback_only_when_told(self):
        own = [a for a in subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split() if "." in a]
        if not own:
            self.skipTest("this machine has no address but loopback")
        listen = f"{own[0]}:{free_port()}"
        refused = self.refused("init", "--dir", self.path("one"), "--device", self.path("one.img") + ":256M", "--listen", listen)
        self.assertEqual(refused.code, "denied")
        self.assertIn("--insecure", refused.message)
        mesh, _ = self.serve(self.make("two", "--listen", listen, "--insecure"))
        self.assertTrue(mesh.status()["insecure"])
        self.assertIn("--insecure", mesh.run("status"))


class OverTcp(ByHand):
    """Commands to a corelet at its TCP address."""
    test_a_mesh_of_three_and_a_witness = test_term_hands_volumes_over = test_what_is_refused = test_beyond_loopback_only_when_told = None

    def test_the_key_decides(self):
        port = free_port()
        one = self.make("one", "--listen", f"127.0.0.1:{port}")
        mesh, _ = self.serve(one)
        address = f"127.0.0.1:{port}"
        self.assertFalse(mesh.status()["insecure"])
        status = json.loads(run_corelet("--json", "--connect", address, "--dir", one, "status"))
        self.assertEqual(status["mesh"], mesh.status()["mesh"])
        self.wait_until(lambda: mesh.status()["health"] == "ok", "the map has it as up")
        # By CORELET_DIR, too; and over the socket no key is needed.
        run_corelet("--connect", address, "pool", "create", "p", "--redundancy", "rep:1", directory=one)
        run_corelet("--connect", f"unix:{one}/corelet.sock", "pool", "ls")
        no_key = self.refused("--connect", address, "pool", "rm", "p")
        self.assertEqual(no_key.code, "denied")
        self.assertIn("admin key", no_key.message)
        other = self.make("other")
        for command in (("pool", "rm", "p"), ("status",), ("volume", "create", "v", "--size", "1M", "--pool", "p")):
            wrong = self.refused("--connect", address, "--dir", other, *command)
            self.assertEqual(wrong.code, "denied")
            self.assertIn("admin.key", wrong.message)
        self.assertEqual([pool["name"] for pool in mesh.json("pool", "ls")], ["p"])


class PoolsAndVolumes(SystemTest):
    def test_pools(self):
        lab = self.lab(4)
        self.assertEqual(lab.json("pool", "ls"), [])
        # What this mesh can in fact lose: four corelets over four zones.
        made = lab.pool("a", "ec:2+2", "--failure-domain", "zone", "--min-copies", "2")
        self.assertEqual((made["promise"], made["can_lose"]), (2, 1), "three voters survive one loss, whatever a pool promises")
        self.assertIn("voters", made["limited_by"])
        said = lab.run("pool", "create", "b", "--redundancy", "rep:2")
        self.assertIn("any 1 ", said.replace("any corelet", "any 1 corelet"))
        self.assertEqual([(p["name"], p["redundancy"], p["failure_domain"]) for p in lab.json("pool", "ls")],
                         [("a", "ec:2+2", "zone"), ("b", "rep:2", "corelet")])
        self.assertIn("ec:2+2", lab.run("pool", "ls"))
        self.assertEqual(self.refused("pool", "create", "a", "--redundancy", "rep:2", mesh=lab).code, "exists")
        for redundancy in ("rep:0", "ec:4", "raid5", "ec:17+2", "ec:2+9"):
            self.assertEqual(self.refused("pool", "create", "c", "--redundancy", redundancy, mesh=lab).code, "invalid", redundancy)
        self.assertIn("corelet, chassis, rack", self.refused("pool", "create", "c", "--redundancy", "rep:2", "--failure-domain", "house", mesh=lab).message)
        lab.run("volume", "create", "v", "--size", "1M", "--pool", "a")
        self.assertIn("corelet volume rm v", self.refused("pool", "rm", "a", mesh=lab).message)
        lab.run("pool", "rm", "b")
        self.assertEqual(self.refused("pool", "rm", "b", mesh=lab).code, "not found")
        lab.run("volume", "rm", "v")
        lab.json("pool", "rm", "a")
        self.assertEqual(lab.json("pool", "ls"), [])

    def test_a_volumes_life(self):
        lab = self.lab(3)
        lab.pool("p", "rep:2")
        made = lab.json("volume", "create", "v", "--size", "32M", "--pool", "p")
        self.assertEqual((made["name"], made["size_bytes"]), ("v", 32 * MIB))
        self.assertIsNone(lab.volume_status("v")["owner"])
        # At an index, at an id, elsewhere, and again.
        uri = lab.attach("v", at="2")
        self.assertEqual(uri, f"nbd+unix:///v?socket={lab.directory}/v.nbd")
        self.assertEqual(lab.owner("v"), 2)
        self.assertEqual(lab.attach("v"), uri)
        data = self.pattern_file("data", 32 * MIB)
        self.copy_in(data, uri)
        third = lab.corelet(3)["id"]
        self.assertEqual(lab.attach("v", at=third), uri)
        self.assertEqual(lab.owner("v"), 3)
        self.assert_holds(uri, data)
        self.assertEqual(lab.run("volume", "attach", "v").strip(), uri)
        info = lab.info("v")
        self.assertEqual((info["owner"], info["epoch"], info["size_bytes"], info["pool"], info["uri"]), (third, 2, 32 * MIB, "p", uri))
        known = {c["id"] for c in lab.status()["corelets"]}
        self.assertLessEqual(set(info["open_segment"]), known)
        self.assertEqual(len(info["open_segment"]), 2)
        self.assertTrue(all(set(standby) <= known for standby in info["standbys"]))
        self.assertIn("32 MiB", lab.run("volume", "info", "v"))
        self.assertIn("32 MiB", lab.run("volume", "ls"))
        # At another socket, and over TCP.
        own = f"unix:{self.path('own.sock')}"
        self.assertEqual(lab.attach("v", nbd=own), f"nbd+unix:///v?socket={self.path('own.sock')}")
        self.assertFalse(os.path.exists(socket_of(uri)))
        moved = lab.attach("v", nbd=f"127.0.0.1:{free_port()}")
        self.assertTrue(moved.startswith("nbd://127.0.0.1:"), moved)
        self.assert_holds(moved, data)
        self.assertIn("detach", self.refused("volume", "rm", "v", mesh=lab).message)
        self.assertTrue(lab.json("volume", "detach", "v")["detached"])
        self.assertEqual(lab.json("volume", "detach", "v"), {"name": "v", "detached": True})
        self.assertEqual(lab.volume_status("v")["uri"], "")
        self.assert_holds(lab.attach("v", at="1"), data)
        lab.run("volume", "detach", "v")
        lab.json("volume", "rm", "v")
        self.assertEqual(lab.json("volume", "ls"), [])
        self.wait_until(lambda: sum(c["used_bytes"] for c in lab.status()["corelets"]) < 40 * MIB, "its space is free again")

    def test_what_is_refused(self):
        lab = self.lab(1)
        lab.pool("p", "rep:1")
        lab.run("volume", "create", "v", "--size", "1M", "--pool", "p")
        for arguments, code in ((("create", "v", "--size", "1M", "--pool", "p"), "exists"), (("create", "w", "--size", "1M", "--pool", "q"), "not found"),
                                (("create", "w", "--size", "1000", "--pool", "p"), "invalid"), (("create", "w", "--size", "8GB", "--pool", "p"), "invalid"),
                                (("create", "a/b", "--size", "1M", "--pool", "p"), "invalid"), (("attach", "w"), "not found"), (("detach", "w"), "not found"),
                                (("rm", "w"), "not found"), (("info", "w"), "not found"), (("attach", "v", "--at", "2"), "not found"),
                                (("attach", "v", "--at", "0123456789abcdef"), "not found"), (("attach", "v", "--nbd", "unix:/tmp/" + "x" * 120), "invalid"),
                                (("attach", "v", "--nbd", "nonsense"), "invalid")):
            self.assertEqual(self.refused("volume", *arguments, mesh=lab).code, code, arguments)


class Status(SystemTest):
    def test_is_short_for_people_and_whole_as_json(self):
        lab = self.lab(8)
        for i in range(4):
            lab.pool(f"p{i}", "ec:4+2" if i else "rep:3")
            lab.volume(f"v{i}", "16M", pool=f"p{i}")
        lab.kill(8)
        self.wait_until(lambda: lab.status()["health"] != "ok", "the loss is seen")
        shown = lab.run("status")
        self.assertLessEqual(len(shown.splitlines()), 12, shown)
        status = lab.status()
        for key in ("health", "can_lose", "limited_by", "can_lose_zones", "corelets", "pools", "volumes", "healing"):
            self.assertIn(key, status)
        for key in ("id", "address", "location", "role", "state", "voter", "capacity_bytes", "used_bytes"):
            self.assertTrue(all(key in corelet for corelet in status["corelets"]), key)
        for key in ("name", "size_bytes", "pool", "owner", "epoch", "uri", "unpacked_bytes"):
            self.assertTrue(all(key in volume for volume in status["volumes"]), key)
        for key in ("chunks_degraded", "bytes_done", "bytes_left", "eta_seconds"):
            self.assertIsInstance(status["healing"][key], int, key)
        ids = {corelet["id"] for corelet in status["corelets"]}
        self.assertTrue(all(volume["owner"] in ids for volume in status["volumes"]))

    def test_works_without_a_quorum_and_says_so(self):
        lab = self.lab(3)
        lab.pool("p", "rep:3")
        lab.kill(2, 3)
        status = self.wait_until(lambda: (s := lab.status()) and not s["catalog"]["available"] and s, "one of three knows that it has no quorum")
        self.assertNotEqual(status["health"], "ok")
        self.assertIn("quorum", lab.run("status"))
        # Who needs the catalog ends by itself and says why.
        for command in (("volume", "create", "v", "--size", "1M", "--pool", "p"), ("pool", "create", "q", "--redundancy", "rep:1")):
            error = self.refused(*command, mesh=lab)
            self.assertIn("quorum", error.message)
            self.assertIn("corelet status", error.message)
        lab.start(2)
        self.wait_until(lambda: lab.status()["catalog"]["available"], "two of three are a quorum")
        lab.run("volume", "create", "v", "--size", "1M", "--pool", "p")

    def test_the_next_corelet_answers_for_one_that_hangs(self):
        lab = self.lab(3)
        lab.kill(1, sig="STOP")
        self.assertEqual(len(lab.status()["corelets"]), 3)
        lab.kill(1, sig="CONT")
        lab.kill(1)
        self.assertEqual(len(lab.status()["corelets"]), 3)


class ControlSocket(SystemTest):
    @unittest.skipUnless(os.geteuid() == 0, "becoming another user takes root")
    def test_is_for_its_owner_and_root(self):
        lab = self.lab(1)
        # The directory keeps others out. Were it open, the corelet would look at who connects.
        os.chmod(self.folder, 0o755)
        os.chmod(lab.directory, 0o755)
        os.chmod(lab.directory + "/c1", 0o755)
        os.chmod(lab.directory + "/c1/corelet.sock", 0o777)
        done = subprocess.run([CORELET, "--connect", f"unix:{lab.directory}/c1/corelet.sock", "status"], capture_output=True, text=True, timeout=30,
                              check=False, user=65534, group=65534, extra_groups=[], cwd="/")
        self.assertEqual(done.returncode, 1)
        self.assertIn("uid 65534 is not allowed", done.stderr)


if __name__ == "__main__":
    meshes.main()
