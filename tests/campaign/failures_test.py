#!/usr/bin/env python3
"""What `./dev test` says last when tests fail: which, and what they said, from what CTest itself writes."""
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))

import failures

TESTS = r"""
add_test(good true)
add_test(says sh -c "echo first; echo 'x.cc:3: Failure'; echo 'Expected: 1'; echo 'Which is: 2'; echo and more; exit 1")
add_test(quiet sh -c "printf 'one\\n\\ntwo\\033[0m\\n'; exit 3")
add_test(dies sh -c "kill -SEGV $$")
add_test(skips sh -c "exit 77")
set_tests_properties(skips PROPERTIES SKIP_RETURN_CODE 77)
add_test(missing /nonexistent/program)
"""


class Failures(unittest.TestCase):
    def told(self, tests):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "CTestTestfile.cmake"), "w", encoding="utf-8") as file:
                file.write(tests)
            path = os.path.join(folder, "results.xml")
            subprocess.run(["ctest", "--test-dir", folder, "--output-junit", path], capture_output=True, check=False)
            with open(path, encoding="utf-8") as file:
                return failures.summary(file.read())

    def test_each_that_failed_and_the_counts(self):
        told = self.told(TESTS)
        self.assertEqual(told[:4], ["says said:", "    x.cc:3: Failure", "    Expected: 1", "    Which is: 2"])
        self.assertEqual(told[4:7], ["quiet said:", "    one", "    two[NON-XML-CHAR-0x1B][0m"])
        self.assertEqual([line for line in told if line.endswith(" said:")], ["says said:", "quiet said:", "dies said:", "missing said:"])
        self.assertEqual(told[-1], "1 passed, 4 failed")

    def test_nothing_failed(self):
        self.assertEqual(self.told("add_test(good true)\n"), ["1 passed, 0 failed"])

    def test_no_more_than_some_lines(self):
        self.assertEqual(len(failures.telling("Error\n" * 100)), failures.LINES)


if __name__ == "__main__":
    unittest.main()
