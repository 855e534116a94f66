"""Fails when a crate of the dependency tree has a licence that is not on the list, or is banned by name."""

import argparse
import json
import re
import subprocess
import sys

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause",
    "BSL-1.0", "CC0-1.0", "CDLA-Permissive-2.0", "IJG", "ISC", "MIT", "MIT-0", "NCSA", "OpenSSL", "Unicode-3.0",
    "Unlicense", "Zlib",
}
# Name -> why. One TLS stack (rustls) serves the whole process; a second one doubles the advisories to follow.
BANNED = {"openssl-sys": "rustls is the TLS stack", "native-tls": "rustls is the TLS stack"}


def accepted(expression: str) -> bool:
    """Whether an SPDX expression can be met with allowed licences; the old slash means OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+(?: WITH [^\s()]+)?", expression.replace("/", " OR "))
    position = 0

    def either() -> bool:
        nonlocal position
        value = both()
        while position < len(tokens) and tokens[position] == "OR":
            position += 1
            value = both() or value
        return value

    def both() -> bool:
        nonlocal position
        value = single()
        while position < len(tokens) and tokens[position] == "AND":
            position += 1
            value = single() and value
        return value

    def single() -> bool:
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "(":
            value = either()
            position += 1
            return value
        return token in ALLOWED

    return either() and position == len(tokens)


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packages"]
    problems = []
    for package in packages:
        name, licence = f"{package['name']} {package['version']}", package["license"]
        if package["name"] in BANNED:
            problems.append(f"{name}: banned, {BANNED[package['name']]}")
        if not licence or not accepted(licence):
            problems.append(f"{name}: licence {licence or 'not stated'} is not on the list")
    print("\n".join(problems) or f"{len(packages)} crates, licences as allowed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
