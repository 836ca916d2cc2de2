"""Meshes are found on the network without an address, show their fingerprint, and still ask for the token."""
import json
import os
import random
import subprocess
import unittest

import meshes
from meshes import CORELET, SystemTest, free_port, run_corelet


def has_ipv6_multicast():
    """An interface besides loopback has an IPv6 address."""
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            return any(line.split()[-1] != "lo" for line in file)
    except FileNotFoundError:
        return False


class Discover(SystemTest):
    def setUp(self):
        super().setUp()
        # Of this test alone, whatever else runs on the machine.
        draw = random.Random(os.urandom(8))
        self.group6 = f"[ff12::434c:{draw.randrange(1, 0xffff):x}]:{draw.randrange(30000, 60000)}"
        self.group = f"239.255.{draw.randrange(1, 250)}.{draw.randrange(1, 250)}:{draw.randrange(30000, 60000)}"

    def begin(self, name, *options):
        """A mesh of one that listens at a TCP port; its directory and its address."""
        directory, address = self.path(name), f"127.0.0.1:{free_port()}"
        run_corelet("init", "--dir", directory, "--device", f"{directory}.device:256M", "--listen", address)
        self.serve(directory, *(options or ("--discovery", self.group)))
        mesh = self.mesh(directory)
        self.wait_until(lambda: self.states(mesh) == ["up"], "it is up")
        return mesh, address

    def serve(self, directory, *options):
        process = subprocess.Popen([CORELET, "serve", "--log", "--dir", directory, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def states(self, mesh):
        return [corelet["state"] for corelet in mesh.status()["corelets"]]

    def found(self, *groups):
        options = [option for group in groups or (self.group,) for option in ("--discovery", group)]
        return {mesh["mesh"]: mesh for mesh in json.loads(run_corelet("--json", "discover", *options))["meshes"]}

    def test_meshes_are_found_and_let_nobody_in(self):
        self.assertEqual(self.found(), {})
        one, one_address = self.begin("one")
        two, two_address = self.begin("two")
        hidden, _ = self.begin("hidden", "--no-discovery")
        found = self.wait_until(lambda: len(self.found()) == 2 and self.found(), "both are found")
        ids = [mesh.status()["mesh"] for mesh in (one, two, hidden)]
        self.assertEqual(set(found), set(ids[:2]), "and the one that does not want to be is not")
        self.assertEqual(found[ids[0]]["addresses"], [f"tcp:{one_address}"])
        self.assertEqual(found[ids[1]]["addresses"], [f"tcp:{two_address}"])
        self.assertEqual(found[ids[0]]["corelets"], 1)
        self.assertNotEqual(found[ids[0]]["fingerprint"], found[ids[1]]["fingerprint"])
        self.assertRegex(found[ids[0]]["fingerprint"], "^([0-9a-f]{4}-){7}[0-9a-f]{4}$")
        with open(f"{one.directory}/admin.key", encoding="ascii") as key:
            self.assertNotIn(found[ids[0]]["fingerprint"].replace("-", ""), key.read())
        self.assertIn(ids[0], run_corelet("discover", "--discovery", self.group))
        # Found is not let in.
        refused = self.refused("join", "--dir", self.path("three"), "--device", self.path("three.device") + ":256M", "--seed", one_address)
        self.assertIn("secret is needed", refused.message)

    def test_a_token_whose_addresses_are_old(self):
        mesh, _ = self.begin("one")
        token = mesh.json("token", "create", "--uses", "2")["token"]
        # It goes on at another port; nothing answers where the token says.
        with open(f"{mesh.directory}/corelet.json", encoding="ascii") as file:
            config = json.load(file)
        with open(f"{mesh.directory}/corelet.pid", encoding="ascii") as file:
            os.kill(int(file.read()), 15)
        self.wait_until(lambda: not os.path.exists(f"{mesh.directory}/corelet.pid"), "it has ended")
        moved = f"tcp:127.0.0.1:{free_port()}"
        with open(f"{mesh.directory}/corelet.json", "w", encoding="ascii") as file:
            json.dump({**config, "listen": [moved]}, file)
        self.serve(mesh.directory, "--discovery", self.group)
        self.wait_until(lambda: self.states(mesh) == ["up"] and self.found(), "it is up again")

        join = ("join", token, "--dir", self.path("two"), "--device", self.path("two.device") + ":256M", "--listen", f"127.0.0.1:{free_port()}")
        self.assertIn("none of the corelets in the token answers", self.refused(*join, "--no-discovery").message)
        # Another mesh of the network that would like to be it does not count: it knows no token.
        self.begin("stranger")
        made = json.loads(run_corelet("--json", *join, "--discovery", self.group))
        self.assertEqual(made["mesh"], mesh.status()["mesh"])
        self.serve(self.path("two"), "--no-discovery")
        self.wait_until(lambda: self.states(mesh) == ["up", "up"], "both are up")

    @unittest.skipUnless(has_ipv6_multicast(), "no interface here has IPv6 and takes multicast")
    def test_ipv6_is_enough(self):
        one, address = self.begin("one", "--discovery", self.group6)
        both, _ = self.begin("both", "--discovery", self.group, "--discovery", self.group6)
        ids = {mesh.status()["mesh"] for mesh in (one, both)}
        found = self.wait_until(lambda: (f := self.found(self.group6)) and len(f) == 2 and f, "both are found by IPv6")
        self.assertEqual(set(found), ids)
        self.assertEqual(found[one.status()["mesh"]]["addresses"], [f"tcp:{address}"])
        self.wait_until(lambda: set(self.found()) == {both.status()["mesh"]}, "by IPv4 the one that answers there")
        self.wait_until(lambda: set(self.found(self.group, self.group6)) == ids, "asked by both, each is one mesh")

    def test_a_host_name_is_as_good_as_an_address(self):
        # In capitals, so that it is the resolver who knows it. Beyond loopback, as far as anybody can tell from a name.
        listen = lambda: ("--listen", f"LOCALHOST:{free_port()}", "--insecure")
        one, two = self.path("one"), self.path("two")
        at = listen()
        run_corelet("init", "--dir", one, "--device", f"{one}.device:256M", *at)
        self.serve(one, "--no-discovery")
        mesh = self.mesh(one)
        self.wait_until(lambda: self.states(mesh) == ["up"], "it is up")
        run_corelet("join", "--dir", two, "--device", f"{two}.device:256M", "--seed", at[1], "--admin-key", f"{one}/admin.key", *listen())
        serving = self.serve(two, "--no-discovery")
        self.wait_until(lambda: self.states(mesh) == ["up", "up"] and mesh.status()["health"] == "ok", "it joined by a name")
        # Others are told the address that the name stood for.
        self.assertEqual([corelet["address"].split(":")[1] for corelet in mesh.status()["corelets"]], ["127.0.0.1"] * 2)
        self.assertEqual([finding for corelet in mesh.status()["corelets"] for finding in corelet["health"]["findings"]], [])
        self.serve_again(serving, two)
        self.wait_until(lambda: self.states(mesh) == ["up", "up"], "and again")

    def serve_again(self, serving, directory):
        serving.kill()
        serving.wait()
        self.serve(directory, "--no-discovery")

    def test_what_cannot_be_asked(self):
        for arguments, word in ((("discover", "--discovery", "10.0.0.1:7"), "no multicast group"),
                                (("discover", "--discovery", self.group, "--discovery", "[ff05::1]:7"), "no multicast group"), (("discover", "--wait", "0s"), "between 1ms"),
                                (("discover", "--no-discovery"), "leave out")):
            self.assertIn(word, self.refused(*arguments).message)


if __name__ == "__main__":
    meshes.main()
