"""`volume map`, `repair`, `rebalance` and `plan` at meshes of real processes."""

import meshes
from meshes import MIB, SystemTest


class VolumeCare(SystemTest):
    def packed(self, lab, name):
        """Until nothing of the volume lies in the log only."""
        return self.wait_until(lambda: (i := lab.info(name)) and i.get("unpacked_bytes") == 0 and i, f"{name} is packed")

    def filled(self, lab, size=24 * MIB):
        uri = lab.volume("v", "64M", redundancy="ec:2+1")
        data = self.pattern_file("data", size)
        self.copy_in(data, uri)
        self.packed(lab, "v")
        return uri, data

    def test_map(self):
        lab = self.lab(4)
        uri, data = self.filled(lab)
        found = lab.json("volume", "map", "v")
        self.assertEqual((found["name"], found["pool"], found["size_bytes"]), ("v", "p", 64 * MIB))
        at = 0
        for row in found["rows"]:
            self.assertEqual(row["offset"], at, "rows follow each other")
            at += row["length"]
        self.assertEqual(at, 64 * MIB)
        with_data = [row for row in found["rows"] if "places" in row]
        self.assertEqual(sum(row["length"] for row in with_data), 24 * MIB)
        known = {corelet["id"] for corelet in lab.status()["corelets"]}
        for row in with_data:
            self.assertEqual(row["copies_alive"], row["copies_wanted"], row)
            self.assertLessEqual({place["corelet"] for place in row["places"]}, known)
        # A part of it, and for people.
        part = lab.json("volume", "map", "v", "--offset", "1M", "--length", "2M")
        self.assertEqual((part["rows"][0]["offset"], sum(row["length"] for row in part["rows"])), (MIB, 2 * MIB))
        shown = lab.run("volume", "map", "v")
        self.assertIn("CORELETS", shown)
        self.assertIn("3/3", shown)
        # Who is dead is seen to be.
        victim = next(n for n in (1, 2, 3, 4) if n != lab.owner("v"))
        dead = lab.corelet(victim)["id"]
        self.refused("volume", "map", "v", "--offset", "65M", mesh=lab)
        lab.kill(victim)
        row = self.wait_until(lambda: next((r for r in lab.json("volume", "map", "v")["rows"] if "places" in r
                                            and any(p["corelet"] == dead and not p["up"] for p in r["places"])), None), "the map shows the loss")
        self.assertEqual(row["copies_alive"], row["copies_wanted"] - 1)
        self.assert_holds(uri, data)

    def test_repair_and_rebalance(self):
        lab = self.lab(4)
        uri, data = self.filled(lab)
        whole = lab.json("volume", "repair", "v", "--verify")
        self.assertEqual((whole["found"], whole["fixed"], whole["not_fixed"]), (0, 0, []))
        self.assertGreater(whole["chunks_checked"], 0)
        self.assertEqual(whole["fragments_checked"], 3 * whole["chunks_checked"])
        self.assertIn("found 0 missing, 0 damaged", lab.run("volume", "repair", "v"))
        self.assertEqual((whole["log"]["found"], whole["log"]["not_fixed"]), (0, []))
        self.assertGreater(whole["log"]["copies_checked"], whole["log"]["segments_checked"], "the open one has more than one")
        # Nothing lies elsewhere, and a dry run changes nothing.
        still = lab.json("volume", "rebalance", "v", "--dry-run")
        self.assertEqual((still["found"], still["by_corelet"]), (0, []))
        self.assertEqual(lab.json("volume", "rebalance", "v")["found"], 0)
        # With healing paused nobody else makes what rots: the device of one that is stopped loses some of its blocks.
        victim = next(n for n in (1, 2, 3, 4) if n != lab.owner("v"))
        lab.run("pause", "--for", "1h")
        lab.kill(victim)
        device = f"{lab.directory}/c{victim}/device"
        rotten = self.spoil(device, data, most=100_000)  # all of it: some lies where the log was, and nobody reads that
        self.assertGreater(rotten, 0, "some of the data lies there")
        lab.start(victim)
        self.wait_until(lambda: lab.corelet(victim)["answers"], "it is back")
        self.wait_until(lambda: all(c["state"] == "up" for c in lab.status()["corelets"]), "all are up")
        self.wait_until(lambda: lab.volume_status("v")["served"], "the volume is served")
        mended = self.wait_until(lambda: (r := lab.json("volume", "repair", "v", "--verify")) and r["damaged"] and r, "what has rotted is found")
        self.assertGreater(mended["damaged"], 0)
        self.assertEqual(mended["fixed"], mended["found"])
        self.assertGreater(mended["bytes"], 0)
        again = lab.json("volume", "repair", "v", "--verify")
        self.assertEqual((again["found"], again["not_fixed"]), (0, []), "it ended by itself, and for good")
        lab.run("resume")
        self.assert_holds(uri, data)

    def spoil(self, device, data, most=6):
        """Flips bits where blocks of the data lie on the device; how many blocks."""
        with open(data, "rb") as file:
            blocks = {file.read(4096) for _ in range(24 * MIB // 4096)}
        done = 0
        with open(device, "r+b") as file:
            at = 0
            while block := file.read(4096):
                if block in blocks and done < most:
                    file.seek(at + 100)
                    file.write(bytes([block[100] ^ 8]))
                    file.seek(at + 4096)
                    done += 1
                at += 4096
        return done

    def test_what_is_refused(self):
        lab = self.lab(3)
        lab.pool("p", "rep:2")
        lab.run("volume", "create", "v", "--size", "8M", "--pool", "p")
        for command in (("map", "v"), ("repair", "w"), ("rebalance", "w"), ("map", "w")):
            error = self.refused("volume", *command, mesh=lab, timeout=150)
            self.assertIn("corelet volume", error.message, command)


class Plan(SystemTest):
    def test_plans_say_what_then_happens(self):
        lab = self.lab(5, out_after="2s")
        uri = lab.volume("v", "128M", redundancy="ec:2+1")
        data = self.pattern_file("data", 96 * MIB)
        self.copy_in(data, uri)
        self.wait_until(lambda: (i := lab.info("v")) and i.get("unpacked_bytes") == 0, "v is packed")
        self.wait_until(lambda: lab.status()["health"] == "ok", "all is whole")
        leaving = next(n for n in (5, 4) if n != lab.owner("v"))
        leaving_id = lab.corelet(leaving)["id"]
        before = lab.status()
        plan = lab.json("plan", "drain", leaving)
        self.assertGreater(plan["moved"]["bytes"], MIB)
        self.assertEqual(plan["rebuilt"]["fragments"], 0)
        self.assertEqual((plan["before"]["can_lose"], plan["after"]["can_lose"]), (before["can_lose"], 1))
        self.assertTrue(plan["fits"])
        self.assertEqual(lab.status()["map_epoch"], before["map_epoch"], "a plan changes nothing")
        shown = lab.run("plan", "drain", leaving)
        for words in ("If corelet", "moves", "can lose", "assumed", "TAKES IN"):
            self.assertIn(words, shown)
        lost = lab.json("plan", "remove", leaving)
        self.assertEqual(lost["moved"], lost["rebuilt"])
        self.assertLess(lost["during"]["can_lose"], lost["before"]["can_lose"])
        added = lab.json("plan", "add", "--location", "z9/r1/c1", "--count", "2", "--size", "256M")
        self.assertGreater(added["moved"]["fragments"], 0)
        self.assertEqual(len(added["corelets"]), 7)
        self.assertIn("any corelet", lab.run("plan", "pool", "create", "q", "--redundancy", "rep:2"))
        self.assertEqual([pool["name"] for pool in lab.json("pool", "ls")], ["p"])
        # Now really.
        done = before["healing"]["bytes_done"]
        lab.run("drain", leaving, "--wait", "--timeout", "120s", timeout=150)
        after = lab.status()
        moved = after["healing"]["bytes_done"] - done
        self.assertLessEqual(abs(moved - plan["moved"]["bytes"]) * 10, plan["moved"]["bytes"], f"moved {moved}, planned {plan['moved']['bytes']}")
        self.assertEqual(next(c for c in after["corelets"] if c["id"] == leaving_id)["state"], "draining")
        measured = lab.json("plan", "add", "--location", "z9/r1/c1")
        self.assertEqual(measured["pace"], "measured", "they have rebuilt by now")
        self.assert_holds(uri, data)

    def test_what_is_refused(self):
        lab = self.lab(3)
        lab.pool("p", "rep:3")
        for arguments, code in ((("drain", "1"), "invalid"), (("drain", "9"), "not found"), (("remove", "0123456789abcdef"), "not found"),
                                (("add", "--location", "a/b/c/d"), "invalid"), (("add", "--location", "z", "--count", "0"), "invalid"),
                                (("pool", "create", "p", "--redundancy", "rep:2"), "exists"), (("pool", "create", "q", "--redundancy", "rep:9"), "invalid")):
            self.assertEqual(self.refused("plan", *arguments, mesh=lab).code, code, arguments)


if __name__ == "__main__":
    meshes.main()
