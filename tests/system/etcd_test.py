"""A mesh whose catalog stands in an etcd that runs already: made by hand and as a lab, served through losses of its own and of etcd's."""
import json
import os
import subprocess

from load import Load
from meshes import CORELET, Lab, SystemTest, free_port, main, run_corelet, socket_of

ETCD = "/usr/bin/etcd"


class Etcd:
    """One server of it, with its data in a folder; it ends with the test."""

    def __init__(self, folder):
        self.folder = folder
        self.client, self.peer = free_port(), free_port()
        self.process = None

    @property
    def name(self):
        return f"etcd:127.0.0.1:{self.client}"

    def start(self):
        client, peer = f"http://127.0.0.1:{self.client}", f"http://127.0.0.1:{self.peer}"
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(
                [ETCD, "--name=m", "--data-dir", f"{self.folder}/data", f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
                 f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=m={peer}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class OnEtcd(SystemTest):
    def setUp(self):
        super().setUp()
        if not os.access(ETCD, os.X_OK):
            self.fail("etcd is not installed; ./dev setup installs it")
        self.etcd = Etcd(self.path("etcd"))
        os.mkdir(self.etcd.folder)
        self.addCleanup(self.etcd.kill)
        self.etcd.start()

    def lab_on_etcd(self, corelets):
        lab = Lab(self.path("lab"))
        self.meshes.append(lab)
        lab.up(corelets, size="256M", catalog=self.etcd.name)
        return lab

    def progress(self, load, what, count=500):
        """The client's writes go on from here."""
        goal = load.acknowledged + count
        self.wait_until(lambda: load.errors or load.acknowledged >= goal, what, limit=60)
        self.assertEqual(load.errors, [])

    def test_a_volume_outlives_its_owner_and_serves_while_etcd_is_away(self):
        lab = self.lab_on_etcd(3)
        status = lab.status()
        self.assertEqual(status["health"], "ok")
        self.assertEqual(status["catalog"]["outside"], self.etcd.name)
        self.assertEqual(status["catalog"]["voters"], [])
        self.assertIn(f"catalog at {self.etcd.name}", lab.run("status"))
        uri = lab.volume("v", size="64M", redundancy="rep:3")
        load = Load(socket_of(uri), "v", blocks=4096, reads=0.2)
        self.progress(load, "the client writes")

        first = lab.owner("v")
        lab.kill(first)
        self.progress(load, "the next owner takes writes")
        self.assertNotEqual(lab.owner("v"), first)
        lab.start(first)
        self.wait_until(lambda: lab.status()["health"] == "ok", "the mesh is whole again")

        self.etcd.kill()
        self.wait_until(lambda: not lab.status()["catalog"]["available"], "the loss of the catalog shows")
        load.forget_gaps()
        self.progress(load, "the volume reads and writes on without the catalog", count=5000)
        self.assertLess(load.longest_gap, 3)
        self.assertIn("does not answer: volumes go on", lab.run("status"))
        self.refused("volume", "create", "w", "--size", "64M", "--pool", "p", mesh=lab)

        self.etcd.start()
        self.wait_until(lambda: lab.status()["catalog"]["available"], "the catalog is back")
        self.progress(load, "the client writes on")
        second = lab.owner("v")
        lab.kill(second)
        self.progress(load, "there is an owner again after another loss")
        self.wait_until(lambda: lab.run("volume", "create", "w", "--size", "64M", "--pool", "p") is not None, "changes are taken again")
        load.stop()
        load.verify()
        self.assertEqual(load.errors, [])

    def test_etcd_goes_while_an_owner_is_replaced(self):
        lab = self.lab_on_etcd(3)
        uri = lab.volume("v", size="64M", redundancy="rep:3")
        load = Load(socket_of(uri), "v", blocks=4096, patience=120)
        self.progress(load, "the client writes")
        lab.kill(lab.owner("v"))
        self.etcd.kill()  # at a moment of the take-over that differs from run to run
        self.etcd.start()
        self.progress(load, "the next owner takes writes")
        load.stop()
        load.verify()
        self.assertEqual(load.errors, [])

    def test_who_stays_away_is_given_up_also_when_it_was_its_turn_to_do_so(self):
        lab = self.lab_on_etcd(5)
        uri = lab.volume("v", size="64M", redundancy="rep:2")
        data = self.pattern_file("data", 8 << 20)
        self.copy_in(data, uri)
        # What falls to the leader of a catalog of the mesh's own falls here to the corelet with the least id.
        first = min(lab.status()["corelets"], key=lambda corelet: corelet["id"])
        lab.kill(first["index"])
        self.wait_until(lambda: lab.corelet(first["index"])["state"] == "out", "the next one gives it up")
        self.wait_until(lambda: lab.status()["health"] == "ok", "the others have what it had")
        self.assert_holds(lab.attach("v"), data)

    def serve(self, directory):
        log = open(f"{directory}/log", "ab")  # pylint: disable=consider-using-with
        process = subprocess.Popen([CORELET, "serve", "--dir", directory], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def test_who_joins_is_told_where_the_catalog_stands(self):
        one, two = self.path("one"), self.path("two")
        mesh = self.mesh(one)
        self.wait_until(lambda: run_corelet("init", "--dir", one, "--device", one + "/device:64M", "--catalog", self.etcd.name), "etcd is up")
        self.serve(one)
        self.wait_until(lambda: mesh.status()["health"] == "ok", "a mesh of one is up")
        run_corelet("join", "--dir", two, "--device", two + "/device:64M", "--seed", f"unix:{one}/corelet.sock")
        with open(two + "/corelet.json", encoding="utf-8") as file:
            self.assertEqual(json.load(file)["catalog"], self.etcd.name)
        self.serve(two)
        self.wait_until(lambda: [c["state"] for c in mesh.status()["corelets"]] == ["up", "up"], "both are there")
        self.assertEqual(mesh.status()["can_lose"], 1, "no voter is missed")
        three = self.path("three")
        error = self.refused("join", "--dir", three, "--device", three + "/device:32M", "--seed", f"unix:{one}/corelet.sock", "--witness")
        self.assertIn("nobody of the mesh votes", error.message)

    def test_a_catalog_that_cannot_be_is_refused_before_anything_is_made(self):
        directory = self.path("refused")
        for catalog, said in ((f"etcd:127.0.0.1:{free_port()}", "cannot be reached"), ("zookeeper:127.0.0.1:1", "etcd:HOST:PORT"),
                              ("etcd:127.0.0.1", "HOST:PORT"), ("etcd:10.1.2.3:2379", "--insecure")):
            error = self.refused("init", "--dir", directory, "--device", directory + "/device:64M", "--catalog", catalog)
            self.assertIn(said, error.message)
            self.assertFalse(os.path.exists(directory), "nothing was made")


if __name__ == "__main__":
    main()
