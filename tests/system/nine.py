"""Nine corelets in three zones, and all that may happen to them in a life: one joins, one is killed, one stops, one is drained and removed, a device
is swapped, a blank one put in, a zone lost. Behind `corelet connect` stock clients write and verify checksums all the while, and see nothing of it but
pauses."""
import os
import subprocess
import time

import meshes
from doors import Door, FioLoop
from load import Load
from meshes import CORELET, MIB, SystemTest, run_corelet

SIZE = "1G"


class Nine(SystemTest):
    def test_a_life_of_nine(self):
        self.mesh_of_nine()
        for event in (self.join, self.kill, self.stop, self.drain, self.remove, self.swap, self.insert, self.zone_loss):
            began = time.monotonic()
            event()
            self.whole(event.__name__)
            self.get_on(event.__name__)
            print(f"{event.__name__}: whole again after {time.monotonic() - began:.1f} s", flush=True)
        self.all_is_right()
        self.nothing_is_left()

    # --- the mesh, and who works on it

    def mesh_of_nine(self):
        self.nine = self.lab(9, size=SIZE, zones=3, out_after="3s")
        self.assertEqual({c["used_bytes"] for c in self.nine.status()["corelets"]}, {0})
        self.nine.pool("p", "rep:3", "--failure-domain", "zone", "--survive", "zone")
        self.nine.pool("e", "ec:2+2", "--failure-domain", "zone", "--survive", "zone")
        self.doors, self.clients = {}, {}
        for name, pool in (("fio", "p"), ("big", "e"), ("kept", "e"), ("load", "p")):
            self.nine.run("volume", "create", name, "--size", "32M", "--pool", pool)
            self.doors[name] = Door(self, self.nine, name, self.path(f"{name}.door"))
        self.data = self.pattern_file("data", 24 * MIB)
        self.copy_in(self.data, self.doors["kept"].uri)
        self.clients["fio"] = FioLoop(self.doors["fio"].uri, self.folder, "fio", 8 * MIB)
        self.clients["big"] = FioLoop(self.doors["big"].uri, self.folder, "big", 16 * MIB, block=256 * 1024, rate=10)
        self.load = self.clients["load"] = Load(self.doors["load"].path, "load", 4096, depth=4, reads=0.3, rate=300)
        for client in self.clients.values():
            self.addCleanup(client.stop)
        self.whole("the start")
        self.get_on("the start")
        self.as_much_may_be_lost("the start")

    def errors(self):
        return [f"{name}: {error}" for name, client in self.clients.items() for error in client.errors]

    def whole(self, after):
        def is_whole():
            status = self.nine.status()
            healing = status["healing"]
            return self.errors() or (status["health"] == "ok" and healing["bytes_left"] == 0 and healing["strays"] == 0 and
                                     all(pool["tables"] == 1 for pool in status["pools"]))
        self.wait_until(is_whole, f"whole again after {after}")
        self.assertEqual(self.errors(), [], f"after {after}")

    def as_much_may_be_lost(self, after):
        """As these pools promise; who says less names what limits it."""
        seen = []

        def is_kept():
            status = self.nine.status()
            seen[:] = [status[key] for key in ("can_lose", "limited_by", "can_lose_zones", "zones_limited_by")]
            return status["can_lose"] >= 2 and status["can_lose_zones"] >= 1
        try:
            self.wait_until(is_kept, f"any two corelets or any zone may be lost after {after}", limit=90)
        finally:
            print(f"after {after}: {seen}", flush=True)

    def get_on(self, after):
        wanted = self.load.acknowledged + 50
        self.wait_until(lambda: self.errors() or self.load.acknowledged >= wanted, f"clients get on after {after}")
        self.assertEqual(self.errors(), [], f"after {after}")

    def state_of(self, number):
        return self.nine.corelet(number)["state"]

    def fills(self, number, before):
        corelet = self.nine.corelet(number)
        return corelet["id"] != before and corelet["state"] == "up" and corelet["used_bytes"] > 0

    # --- what happens

    def join(self):
        """With a token, a device and a directory of its own: the tenth."""
        token = self.nine.run("token", "create").split()[0]
        directory = self.path("tenth")
        run_corelet("join", token, "--dir", directory, "--device", f"{directory}/device:{SIZE}", "--location", "z1/r1/tenth", "--out-after", "3s")
        process = subprocess.Popen([CORELET, "serve", "--log", "--dir", directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def fills():
            return any(c["location"] == "z1/r1/tenth" and c["state"] == "up" and c["used_bytes"] > 0 for c in self.nine.status()["corelets"])
        self.wait_until(fills, "the tenth is up and filling")

    def kill(self):
        """The owner of a volume, for longer than until it is missed; then it comes back as itself."""
        owner = self.owner_of("fio")
        before = self.nine.corelet(owner)["id"]
        self.nine.kill(owner)
        self.wait_until(lambda: self.state_of(owner) in ("down", "out"), "it is missed")
        self.get_on("a kill")
        self.nine.start(owner)
        self.wait_until(lambda: self.state_of(owner) == "up", "it is back")
        self.assertEqual(self.nine.corelet(owner)["id"], before)

    def stop(self):
        """The owner of a volume hangs until another one has taken the volume."""
        owner = self.owner_of("load")
        self.nine.kill(owner, sig="STOP")
        try:
            self.wait_until(lambda: self.nine.owner("load") not in (None, owner), "another one serves its volume")
            self.get_on("a hang")
        finally:
            self.nine.kill(owner, sig="CONT")
        self.wait_until(lambda: self.state_of(owner) == "up", "it is back")

    def drain(self):
        self.leaving = next(number for number in range(9, 0, -1) if number != self.owner_of("kept"))
        done = self.nine.json("drain", str(self.leaving), "--wait", "--timeout", "5min", timeout=330)
        self.assertTrue(done["safe_to_remove"], done)
        self.assertEqual(self.nine.corelet(self.leaving)["used_bytes"], 0, "safe to remove is: nothing is left there")

    def remove(self):
        self.assertFalse(self.nine.json("remove", str(self.leaving))["forced"])
        self.wait_until(lambda: self.state_of(self.leaving) == "absent", "it is no part of the mesh")
        self.nine.kill(self.leaving)

    def swap(self):
        """A device is pulled out under load, and a blank one put into the same bay: somebody else, at the same place."""
        bay = next(number for number in range(1, 10) if number != self.leaving)
        before = self.nine.corelet(bay)
        self.nine.run("lab", "pull", str(bay))
        self.wait_until(lambda: self.state_of(bay) in ("down", "out"), "it is missed")
        self.nine.run("lab", "insert", str(bay))
        self.wait_until(lambda: self.fills(bay, before["id"]), "the blank device fills")
        self.assertEqual(self.nine.corelet(bay)["location"], before["location"])

    def insert(self):
        """A blank device into a further bay."""
        self.nine.run("lab", "insert", "10")
        self.wait_until(lambda: self.fills(10, None), "the blank device fills")

    def zone_loss(self):
        """With the owner of a volume in it."""
        zone = self.nine.corelet(self.owner_of("load"))["location"].split("/")[0]
        of_lab = [c for c in self.nine.status()["corelets"] if "index" in c]
        lost = [c["index"] for c in of_lab if c["location"].startswith(zone + "/") and c["state"] == "up" and self.nine.pid(c["index"])]
        self.assertGreaterEqual(len(lost), 2, "that is a zone")
        self.load.forget_gaps()
        self.nine.kill(*lost)
        self.wait_until(lambda: all(self.state_of(number) in ("down", "out") for number in lost), "a zone is missed")
        self.get_on("the loss of a zone")
        print(f"the loss of a zone with the owner in it was a pause of {self.load.longest_gap:.1f} s", flush=True)
        self.nine.start(*lost)
        self.wait_until(lambda: all(self.state_of(number) == "up" for number in lost), "a zone is back")

    def owner_of(self, name):
        """Its number in the lab; whoever has joined from elsewhere is none of it."""
        def known():
            owner = self.nine.owner(name)
            if owner and self.nine.pid(owner):
                return owner
            self.nine.attach(name, at=str(next(n for n in range(2, 9) if self.nine.pid(n) and self.state_of(n) == "up")))
            return None
        return self.wait_until(known, f"somebody of the lab owns '{name}'")

    # --- what is asked of it in the end

    def all_is_right(self):
        for client in self.clients.values():
            client.stop()
        self.assertEqual(self.errors(), [])
        self.load.verify()
        self.assertEqual(self.errors(), [])
        self.assertEqual(self.load.connects, 2, "one connection for all its life, and one to verify")
        for name in ("fio", "big"):
            self.assertGreater(self.clients[name].rounds, 0, f"{name} has verified something")
        self.assert_holds(self.doors["kept"].uri, self.data)
        self.assertGreater(sum(door.owners() for door in self.doors.values()), len(self.doors), "owners have changed")
        self.whole("all of it")
        self.as_much_may_be_lost("all of it")
        for name in self.doors:
            for row in self.nine.json("volume", "map", name)["rows"]:
                if row["kind"] == "chunk":
                    self.assertEqual(row["copies_alive"], row["copies_wanted"], row)

    def nothing_is_left(self):
        """Nothing refers to anything any more: what still takes up room has leaked."""
        for door in self.doors.values():
            door.close()
        for name in self.doors:
            self.nine.run("volume", "detach", name)
            self.nine.run("volume", "rm", name)
        self.wait_until(lambda: {c["used_bytes"] for c in self.nine.status()["corelets"] if c["state"] == "up"} == {0}, "all room is free again")
        self.assertFalse(os.path.exists(self.path("fio.door")), "its socket went with the door")


if __name__ == "__main__":
    meshes.main()
