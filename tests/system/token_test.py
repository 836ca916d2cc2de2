"""One string lets a corelet into a mesh, once, for a while."""
import json
import os
import subprocess
import time

import meshes
from meshes import CORELET, SystemTest, run_corelet


class Tokens(SystemTest):
    def token(self, lab, *options):
        return lab.json("token", "create", *options)["token"]

    def join(self, name, token, *options):
        directory = self.path(name)
        return directory, json.loads(run_corelet("--json", "join", token, "--dir", directory, "--device", f"{directory}.device:256M", *options))

    def refuse(self, token, *options):
        directory = self.path("refused")
        error = self.refused("join", token, "--dir", directory, "--device", f"{directory}.device:256M", *options)
        self.assertFalse(os.path.exists(f"{directory}.device"), "nothing was formatted")
        return error

    def serve(self, directory):
        process = subprocess.Popen([CORELET, "serve", "--dir", directory, "--log"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def test_a_corelet_joins_by_a_token(self):
        lab = self.lab(3)
        token = self.token(lab)
        self.assertTrue(token.startswith("corelet-join-"))
        directory, made = self.join("four", token, "--location", "z9/r/c")
        self.assertEqual(made["mesh"], lab.status()["mesh"])
        with open(f"{directory}/admin.key", encoding="ascii") as own, open(f"{lab.directory}/c1/admin.key", encoding="ascii") as theirs:
            self.assertEqual(own.read(), theirs.read(), "the mesh's key came with it")
        self.serve(directory)
        mesh = self.mesh(directory)
        ours = lambda: [c for c in mesh.status()["corelets"] if c["id"] == made["id"] and c["state"] == "up"]
        self.wait_until(ours, "it is in the mesh")
        self.assertEqual(ours()[0]["location"], "z9/r/c")
        seen = [c for c in lab.status()["corelets"] if c["id"] == made["id"]]
        self.assertEqual([c["state"] for c in seen], ["up"], "the lab's own status has it too")
        self.assertIn("4 of 4 up", lab.run("status"))
        self.assertIn("used as often", self.refuse(token).message)

    def test_each_refusal_says_why(self):
        lab = self.lab(1)
        token = self.token(lab, "--uses", "2")
        self.assertIn("not whole", self.refuse(token[:-3]).message)
        self.assertIn("no join token", self.refuse("hello").message)
        short = self.token(lab, "--expires", "1ms")
        made = time.monotonic()
        self.wait_until(lambda: time.monotonic() - made > 0.01, "a moment")
        self.assertIn("has expired", self.refuse(short).message)
        witness = self.token(lab, "--role", "witness")
        self.assertIn("lets in a witness, not a spare", self.refuse(witness, "--spare").message)
        self.assertIn("within a year", self.refused("token", "create", "--expires", "9000h", mesh=lab).message)
        self.assertIn("no role", self.refused("token", "create", "--role", "owner", mesh=lab).message)
        self.assertEqual(self.refused("join", "--dir", self.path("n"), "--device", self.path("n.device") + ":256M").code, "invalid")
        # Both uses of the first are left: what was refused before the mesh was asked has cost none.
        self.join("one", token)
        self.join("two", token)
        self.assertIn("used as often", self.refuse(token).message)
        lab.kill(1)
        self.assertIn("none of the corelets in the token answers", self.refuse(witness).message)

    def test_a_token_of_another_mesh(self):
        lab, other = self.lab(1), self.lab(1, name="other")
        token = self.token(lab)
        lab.kill(1)
        # The other mesh's corelet listens where the token says.
        socket = f"{lab.directory}/c1/corelet.sock"
        if os.path.lexists(socket):
            os.unlink(socket)
        os.symlink(f"{other.directory}/c1/corelet.sock", socket)
        self.assertIn("the token is of mesh", self.refuse(token).message)


if __name__ == "__main__":
    meshes.main()
