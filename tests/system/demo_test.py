"""`./dev demo`, interrupted: it leaves nothing. (Whole, it is the acceptance test of its own.)"""
import os
import shutil
import signal
import subprocess
import unittest

import meshes
from janitor import processes_of
from meshes import CORELET, GIB, HERE, SystemTest


class Interrupted(SystemTest):
    def begin(self, until):
        """Runs the demo until it prints a line with that in it."""
        demo = subprocess.Popen([os.path.join(HERE, "../../scripts/demo.sh")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env=dict(os.environ, CORELET_DEMO_DIR=self.folder, CORELET_BIN=CORELET))
        self.addCleanup(demo.wait)
        self.addCleanup(demo.stdout.close)
        self.addCleanup(demo.kill)
        said = ""
        for line in demo.stdout:
            said += line
            if until in line:
                return demo
        self.fail(f"the demo ended before '{until}':\n{said}")

    @unittest.skipUnless(shutil.disk_usage("/tmp").free > 11 * GIB, "the demo needs 10 GiB of disk")
    def test_leaves_nothing(self):
        # While a client copies; its files are in the way of nobody either.
        demo = self.begin("sha256")
        self.wait_until(lambda: any("nbdcopy" in arguments[0] for arguments in processes_of(self.folder).values()), "nbdcopy runs")
        demo.send_signal(signal.SIGTERM)
        demo.stdout.read()
        self.assertEqual(demo.wait(timeout=30), 143)
        self.assertEqual(processes_of(self.folder), {})
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    meshes.main()
