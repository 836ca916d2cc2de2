"""A system test whose corelets look for faults of their disk in a file of their directory (CORELET_DISK_FAULTS, src/app/tool/disk_faults.h),
under a client that remembers what it was promised."""
import os

from load import Load
from meshes import SystemTest, socket_of


class FaultyTest(SystemTest):
    def faulty_lab(self, corelets, **options):
        """A lab whose corelets each look into `faults` in their own directory."""
        os.environ["CORELET_DISK_FAULTS"] = "faults"
        self.addCleanup(os.environ.pop, "CORELET_DISK_FAULTS", None)
        return self.lab(corelets, **options)

    @staticmethod
    def inject(lab, number, *rules):
        """These rules and no others; at once, for a file is looked at before each operation."""
        path = f"{lab.directory}/c{number}/faults"
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write("".join(rule + "\n" for rule in rules))
        os.rename(path + ".new", path)

    def begin(self, lab, name="v", **options):
        load = Load(socket_of(lab.volume_status(name)["uri"]), name, 4096, **options)
        self.addCleanup(load.stop)
        self.wait_until(lambda: load.acknowledged > 200 or load.errors, "the load runs")
        return load

    def finish(self, load):
        load.stop()
        load.verify()
        self.assertEqual(load.errors, [])

    def replica(self, lab, name="v", besides=()):
        """A corelet in the open segment that does not own the volume, and is none of `besides`."""
        owner = lab.owner(name)
        info = self.wait_until(lambda: (info := lab.info(name))["standbys"] and info, "a standby is listed")
        return next(number for number in map(lab.number, info["open_segment"]) if number not in (owner, *besides))
