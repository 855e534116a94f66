"""Rules about licences and tracked files."""

import pathlib
import tempfile
import unittest

import check_licences
import check_tree


class Licences(unittest.TestCase):
    def test_reads_spdx_expressions(self):
        for expression in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR Apache-2.0) AND Unicode-3.0",
                           "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"]:
            self.assertTrue(check_licences.accepted(expression), expression)
        for expression in ["GPL-3.0", "MIT AND GPL-3.0", "LGPL-2.1-or-later", "(GPL-2.0 OR AGPL-3.0) AND MIT",
                           "GPL-2.0 WITH Classpath-exception-2.0"]:
            self.assertFalse(check_licences.accepted(expression), expression)


class Tree(unittest.TestCase):
    def findings(self, name, text):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / name
            path.write_text(text)
            return check_tree.findings(path)

    def test_finds_what_may_not_be_there(self):
        dot = "."
        self.assertTrue(self.findings("a.md", f"see https://crates{dot}io/x"))
        self.assertTrue(self.findings("a.rs", "fn f() { todo" + "!() }"))
        self.assertTrue(self.findings("a.md", "in /home" + "/someone/x"))
        self.assertTrue(self.findings("a.py", "-----BEGIN " + "PRIVATE KEY-----"))

    def test_passes_plain_text(self):
        self.assertEqual(self.findings("a.rs", "// an issue of blood flow at /work of the heart\n"), [])


if __name__ == "__main__":
    unittest.main()
