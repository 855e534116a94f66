"""Fails when a tracked file holds what may not leave a developer's machine, or a leftover of unfinished work."""

import argparse
import pathlib
import re
import subprocess
import sys

# What is looked for -> why it may not be there. Written as patterns that do not match themselves.
EVERYWHERE = {
    r"crates[.]io|pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian": "a package registry's host name",
    r"(?<![\w.$}])/work/(?:wt|main|shared|target)\b|(?<![\w.$}])/home/[a-z]+/|/\.pyenv/": "a path of one machine",
    r"-----BEGIN [A-Z ]*PRIVATE KEY": "a private key",
    r"\b[Ii]ssue #?[0-9]": "a tracker number; say what is meant",
    r"<{7} |>{7} ": "a merge conflict",
}
IN_CODE = {
    r"\b(?:todo|unimplemented|dbg)!\s*\(": "unfinished code",
    r"\b(?:FIXM[E]|XX[X]|TOD[O])\b": "unfinished work",
    r"#\[ignore\b|pytest\.mark\.(?:skip|xfail)": "a test that does not run",
}
CODE = {".rs", ".py", ".sh", ".toml", ".sql", ".c"}
# Lock files name registries by design.
EXEMPT = {"Cargo.lock"}
# Keys that protect nothing: made for, or published in a standard for, one test each.
TEST_KEYS = {
    "src/deliver/ehr/testdata/ec.pem",
    "src/deliver/ehr/testdata/rsa.pem",
    "tests/it/ledger.rs",
}
LARGEST = 90 * 1024 * 1024


def findings(path: pathlib.Path) -> list[str]:
    """Each offending line of one tracked file as 'path:line: reason'."""
    if path.name in EXEMPT or not path.is_file() or path.is_symlink():
        return []
    if path.stat().st_size > LARGEST:
        return [f"{path}: larger than {LARGEST} bytes"]
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []
    rules = EVERYWHERE | (IN_CODE if path.suffix in CODE else {})
    return [
        f"{path}:{number}: {reason}"
        for number, line in enumerate(lines, start=1)
        for pattern, reason in rules.items()
        if re.search(pattern, line) and not (reason == "a private key" and path.as_posix() in TEST_KEYS)
    ]


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    tracked = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    files = [pathlib.Path(name) for name in tracked.split("\0") if name]
    problems = [problem for path in files for problem in findings(path)]
    print("\n".join(problems) or f"{len(files)} tracked files, nothing that may not be there")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
