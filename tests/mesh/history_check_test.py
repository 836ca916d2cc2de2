"""That history_check finds what is wrong, and only that, in histories made by hand."""
import os
import subprocess
import tempfile
import unittest

CHECK = os.environ.get("HISTORY_CHECK", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/release/bin/history_check"))


def all_of(value):
    return " ".join([str(value)] * 8)


def write(name, value, begun, ended=None, first=0, sectors=8, block=0):
    lines = [f"begin {name} write {block} {first} {sectors} {value} {begun}"]
    return lines + ([f"end {name} {ended}"] if ended else [])


def read(name, seen, begun, ended, block=0):
    return [f"begin {name} read {block} {begun}", f"end {name} {ended} {seen if isinstance(seen, str) else all_of(seen)}"]


class HistoryCheck(unittest.TestCase):
    def verdict(self, *operations):
        with tempfile.NamedTemporaryFile("w", suffix=".history") as file:
            file.write("".join(line + "\n" for lines in operations for line in lines))
            file.flush()
            done = subprocess.run([CHECK, file.name], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def fine(self, *operations):
        code, said = self.verdict(*operations)
        self.assertEqual(code, 0, said)
        return said

    def wrong(self, *operations):
        code, said = self.verdict(*operations)
        self.assertEqual(code, 1, said)
        self.assertIn("no order explains", said)

    def test_one_after_the_other(self):
        said = self.fine(read("a1", 0, 1, 2), write("a2", 7, 3, 4), read("a3", 7, 5, 6), write("a4", 0, 7, 8), read("a5", 0, 9, 10))
        self.assertIn("5 operations on 1 blocks, 0 began beside another one, 0 without an end: linearizable", said)

    def test_a_stale_read(self):
        self.wrong(write("a1", 7, 1, 2), write("a2", 8, 3, 4), read("b1", 7, 5, 6))

    def test_a_read_that_goes_back_behind_another(self):
        overlapping = write("a1", 7, 1, 20)
        self.fine(overlapping, read("b1", 0, 2, 3), read("b2", 7, 4, 5))
        self.wrong(overlapping, read("b1", 7, 2, 3), read("b2", 0, 4, 5))

    def test_what_has_no_end_may_happen_late_or_never_but_once(self):
        self.fine(write("a1", 7, 1), read("b1", 0, 2, 3), write("b2", 8, 4, 5), read("b3", 7, 6, 7), read("b4", 7, 8, 9))
        self.fine(write("a1", 7, 1), read("b1", 0, 2, 3))
        self.wrong(write("a1", 7, 1), read("b1", 7, 2, 3), write("b2", 8, 4, 5), read("b3", 7, 6, 7))

    def test_a_lost_write_and_one_from_nowhere(self):
        self.wrong(write("a1", 7, 1, 2), read("b1", 0, 3, 4))
        self.wrong(read("b1", 9, 3, 4))

    def test_sectors(self):
        seen = "7 7 8 8 7 7 7 7"
        self.fine(write("a1", 7, 1, 2), write("a2", 8, 3, 4, first=2, sectors=2), read("b1", seen, 5, 6))
        self.wrong(write("a1", 7, 1, 2), write("a2", 8, 3, 4, first=2, sectors=3), read("b1", seen, 5, 6))

    def test_blocks_are_judged_apart(self):
        self.fine(write("a1", 7, 1, 2, block=1), read("b1", 0, 3, 4, block=2))

    def test_what_is_stamped_alike_overlaps(self):
        self.fine(write("a1", 7, 1, 5), read("b1", 0, 5, 6))

    def test_other_files(self):
        for lines in ([], ["begin a1 write 0 0 8 7"], ["begin a1 write 0 4 8 7 1"], ["end a1 5"], ["begin a1 read 0 5", "end a1 4 " + all_of(0)],
                      ["begin a1 read 0 5", "end a1 6 1 2 3"], ["begin a1 read 0 1", "begin a1 read 0 2"], ["what is this"]):
            self.assertEqual(self.verdict(lines)[0], 2, lines)


if __name__ == "__main__":
    unittest.main()
