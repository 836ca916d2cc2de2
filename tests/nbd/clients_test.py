"""Stock NBD clients against the server: libnbd's tools, qemu's, fio."""
import json
import os
import random
import unittest

from harness import MIB, Server, ServerTest


class Nbdinfo(ServerTest):
    def test_export_is_described(self):
        server = self.server("--size", 8 * MIB)
        info = json.loads(self.run_tool("nbdinfo", "--json", server.uri()))
        self.assertEqual(info["structured"], True)
        export = info["exports"][0]
        self.assertEqual(export["export-size"], 8 * MIB)
        self.assertEqual(export["description"], "bytes in memory")
        self.assertEqual(export["contexts"], ["base:allocation"])
        self.assertEqual([export[f"block_size_{s}"] for s in ("minimum", "preferred", "maximum")], [512, 4096, 32 * MIB])
        for able in ("can_cache", "can_df", "can_fast_zero", "can_flush", "can_fua", "can_multi_conn", "can_trim", "can_zero"):
            self.assertTrue(export[able], able)
        self.assertFalse(export["is_read_only"])

    def test_default_export_and_list(self):
        server = self.server()
        self.run_tool("nbdinfo", server.uri(name=""))
        listed = json.loads(self.run_tool("nbdinfo", "--json", "--list", server.uri(name="")))
        self.assertEqual([export["export-name"] for export in listed["exports"]], ["memory"])
        self.run_tool("nbdinfo", server.uri(name="nothing"), ok=False)

    def test_map_shows_holes(self):
        server = self.server("--size", 64 * MIB)
        self.run_tool("qemu-io", "-f", "raw", "-c", "write 1M 512", "-c", "write 40M 1M", server.uri())
        extents = json.loads(self.run_tool("nbdinfo", "--map", "--json", server.uri()))
        self.assertEqual([(e["offset"], e["length"], e["type"]) for e in extents],
                         [(0, MIB, 3), (MIB, 4096, 0), (MIB + 4096, 39 * MIB - 4096, 3), (40 * MIB, MIB, 0), (41 * MIB, 23 * MIB, 3)])


class Copies(ServerTest):
    def test_nbdcopy_there_and_back_on_unix_and_tcp(self):
        server = self.server("--size", 48 * MIB, listen=["unix:" + self.path("s"), "tcp:127.0.0.1:0"])
        source, back = self.path("source"), self.path("back")
        with open(source, "wb") as file:
            file.write(random.Random(1).randbytes(48 * MIB))
        for which in (0, 1):
            for size in (32 * MIB, 256 * 1024, 4096):
                self.run_tool("nbdcopy", f"--request-size={size}", "--connections=4", source, server.uri(which))
                self.run_tool("nbdcopy", f"--request-size={size}", "--connections=4", server.uri(which), back)
                with open(source, "rb") as one, open(back, "rb") as other:
                    self.assertTrue(one.read() == other.read(), f"{server.uri(which)} differs with requests of {size}")
        self.assertEqual(server.stop()["errors"], 0)

    def test_qemu_img_keeps_holes(self):
        server = self.server("--size", 32 * MIB)
        source = self.path("source.qcow2")
        self.run_tool("qemu-img", "create", "-f", "qcow2", source, "32M")
        self.run_tool("qemu-io", "-c", "write -P 17 5M 3M", "-c", "write -P 18 20M 65536", source)
        self.run_tool("qemu-img", "convert", "-n", "-O", "raw", source, server.uri())
        self.run_tool("qemu-img", "compare", "-f", "qcow2", "-F", "raw", source, server.uri())
        data = [e for e in json.loads(self.run_tool("qemu-img", "map", "--output=json", "-f", "raw", server.uri())) if e["data"]]
        self.assertLess(sum(e["length"] for e in data), 6 * MIB)


class SmallRequests(ServerTest):
    def test_qemu_io_in_units_of_512(self):
        server = self.server("--size", 4 * MIB)
        chance = random.Random(2)
        model = bytearray(4 * MIB)
        commands = []
        for step in range(150):
            offset = chance.randrange(4 * MIB // 512) * 512
            length = min(chance.choice((512, 1024, 4096, 5120, 70144)), 4 * MIB - offset)
            pattern = step % 255 + 1
            kind = chance.choice(("write", "fua", "zero", "discard"))
            if kind in ("write", "fua"):
                commands.append(f"write {'-f ' if kind == 'fua' else ''}-P {pattern} {offset} {length}")
                model[offset:offset + length] = bytes([pattern]) * length
            elif kind == "zero":
                commands.append(f"write -z {offset} {length}")
                model[offset:offset + length] = bytes(length)
            else:
                commands += [f"discard {offset} {length}", f"write -z {offset} {length}"]
                model[offset:offset + length] = bytes(length)
        self.run_tool("qemu-io", "-f", "raw", *[a for c in [*commands, "flush"] for a in ("-c", c)], server.uri())
        back = self.path("back")
        self.run_tool("nbdcopy", server.uri(), back)
        with open(back, "rb") as file:
            self.assertTrue(file.read() == bytes(model))
        self.assertEqual(server.stop()["errors"], 0)


class Fio(ServerTest):
    def fio(self, server, *arguments):
        out = self.run_tool("fio", "--name=t", "--ioengine=nbd", f"--uri={server.uri()}", "--size=64m", "--output-format=json",
                            "--verify_fatal=1", *arguments)
        job = json.loads(out[out.index("{"):])["jobs"][0]
        self.assertEqual(job["error"], 0)
        return job

    def test_verified_random_writes(self):
        server = self.server("--size", 64 * MIB)
        self.fio(server, "--rw=randwrite", "--bs=4k", "--iodepth=32", "--verify=crc32c", "--do_verify=1")
        self.assertEqual(server.stop()["errors"], 0)

    def test_verified_mixed_sizes(self):
        server = self.server("--size", 64 * MIB)
        self.fio(server, "--rw=randwrite", "--bsrange=512-1m", "--blockalign=512", "--bs_unaligned=0", "--iodepth=16",
                 "--verify=crc32c", "--do_verify=1")
        self.fio(server, "--rw=randrw", "--bs=1m", "--iodepth=8", "--fsync=10")
        self.fio(server, "--rw=randtrimwrite", "--bs=64k", "--iodepth=8")
        self.assertEqual(server.stop()["errors"], 0)


class Errors(ServerTest):
    def test_full_device(self):
        server = self.server("--size", 8 * MIB, "--blocks-max", 256)
        out = self.run_tool("qemu-io", "-f", "raw", "-c", "write 0 1M", "-c", "write 2M 4k", server.uri(), ok=False)
        self.assertIn("No space left on device", out)
        self.run_tool("qemu-io", "-f", "raw", "-c", "read 0 1M", "-c", "discard 0 64k", "-c", "write 2M 4k", server.uri())

    def test_read_only(self):
        server = self.server("--read-only")
        self.assertTrue(json.loads(self.run_tool("nbdinfo", "--json", server.uri()))["exports"][0]["is_read_only"])
        self.run_tool("qemu-io", "-f", "raw", "-c", "write 0 4k", server.uri(), ok=False)
        self.run_tool("qemu-io", "-r", "-f", "raw", "-c", "read 0 4k", server.uri())

    def test_addresses_that_cannot_be_listened_on(self):
        first = self.server(listen=["tcp:127.0.0.1:0"])
        for address, word in ((first.addresses[0], "use"), ("unix:/" + "x" * 300, "takes at most 107"), ("unix:/nowhere/at/all", "")):
            with self.assertRaises(IndexError):
                Server(self.folder, listen=[address])  # it says nothing on stdout
            out = self.run_tool(os.environ["NBD_MEMORY_SERVER"], "--listen", address, ok=False)
            self.assertIn("cannot listen on " + address, out)
            self.assertIn(word, out)


class Endings(ServerTest):
    def test_next_owner_takes_the_path_over(self):
        old = self.server("--size", 8 * MIB)
        client = old.connect()
        new = self.server("--size", 16 * MIB)
        size = lambda: int(self.run_tool("nbdinfo", "--size", new.uri()))
        self.assertEqual(size(), 16 * MIB)
        old.stop()
        self.assertEqual(size(), 16 * MIB, "the old server removed a socket that is not its own")
        self.assertEqual(client.recv(18)[:8], b"NBDMAGIC")
        new.stop()
        self.assertFalse(os.path.exists(self.path("nbd.sock")))

    def test_term_under_load_is_orderly(self):
        server = self.server("--size", 64 * MIB)
        import subprocess
        load = subprocess.Popen(["fio", "--name=t", "--ioengine=nbd", f"--uri={server.uri()}", "--size=64m", "--rw=randrw", "--bs=4k",
                                 "--iodepth=32", "--time_based", "--runtime=30"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while int(self.run_tool("nbdinfo", "--size", server.uri())) and server.status_kib("VmRSS") < 20 * 1024:
                pass
            self.assertEqual(server.stop()["errors"], 0)
            self.assertNotEqual(load.wait(timeout=20), 0)
        finally:
            load.kill()
            load.wait()


if __name__ == "__main__":
    unittest.main()
