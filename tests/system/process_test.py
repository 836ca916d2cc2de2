"""What a corelet process tells about itself: what its tasks wait for, and what it does I/O with."""
import json
import os
import signal
import subprocess

import meshes
from meshes import CORELET, SystemTest, run_corelet


class Process(SystemTest):
    def test_usr1_writes_what_each_task_waits_for_and_nothing_else_happens(self):
        lab = self.lab(1)
        pid, tasks = lab.pid(1), f"{lab.directory}/c1/corelet.tasks"
        self.assertFalse(os.path.exists(tasks))
        os.kill(pid, signal.SIGUSR1)
        self.wait_until(lambda: os.path.exists(tasks), "the tasks are written")
        with open(tasks, encoding="utf-8") as file:
            text = file.read()
        # A root task for each part of the corelet, each with the chain of awaits that it hangs in: function and source line.
        self.assertGreater(text.count("task "), 5, text)
        for part in ("src/catalog/raft_node.cc:", "src/node/gossip.cc:", "src/node/session_keeper.cc:"):
            self.assertIn(part, text)
        self.assertEqual(lab.pid(1), pid, "it runs on")
        self.assertEqual(lab.status()["health"], "ok")
        os.remove(tasks)
        os.kill(pid, signal.SIGUSR1)
        self.wait_until(lambda: os.path.exists(tasks), "and again")

    def test_without_io_uring_it_runs_on_epoll_and_says_so(self):
        lab = meshes.Lab(self.path("lab"))
        self.meshes.append(lab)
        run_corelet("lab", "up", "--corelets", 1, "--size", "256M", "--dir", lab.directory, environment={"CORELET_NO_URING": "1"})
        self.assertEqual([c["io_engine"] for c in lab.status()["corelets"]], ["epoll"])
        self.assertIn("1 corelet without io_uring", lab.run("status"))
        uri = lab.volume("v", "64M", redundancy="rep:1")
        data = self.pattern_file("data", 32 << 20)
        self.copy_in(data, uri)
        self.assert_holds(uri, data)


class ByHand(SystemTest):
    def serve(self, directory):
        process = subprocess.Popen([CORELET, "serve", "--dir", directory, "--log"], stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_the_directory_of_one_that_is_gone_still_leads_to_the_mesh(self):
        first, second, third = (self.path(name) for name in ("a", "b", "c"))
        run_corelet("init", "--dir", first, "--device", first + ".img:128M")
        serving = self.serve(first)
        for other in (second, third):
            self.wait_until(lambda: run_corelet("status", directory=first), "the first answers")
            run_corelet("join", "--dir", other, "--device", other + ".img:128M", "--seed", f"unix:{first}/corelet.sock")
            self.serve(other)
        mesh = self.mesh(first)
        self.wait_until(lambda: len(mesh.status()["corelets"]) == 3 and mesh.status()["health"] == "ok", "a mesh of three")

        def config():
            with open(first + "/corelet.json", encoding="utf-8") as file:
                return json.load(file)

        self.wait_until(lambda: len(config()["seeds"]) == 2, "the directory knows the others")
        self.assertFalse(config()["bootstrap"])
        serving.kill()
        serving.wait()
        self.wait_until(lambda: mesh.status()["health"] != "ok", "and one of them answers for it")

    def test_addresses_are_judged_when_they_are_given(self):
        for address, code in (("0.0.0.0:7700", "invalid"), ("[::]:7700", "invalid"), ("192.0.2.1:7700", "denied")):
            self.assertEqual(self.refused("init", "--dir", self.path("x"), "--device", self.path("x.img") + ":128M", "--listen", address).code, code)
        self.assertFalse(os.path.exists(self.path("x.img")), "nothing was made")


if __name__ == "__main__":
    meshes.main()
