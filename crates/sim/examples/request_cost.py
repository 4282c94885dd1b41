#!/usr/bin/env python3
"""Prints the instructions per request, as `valgrind --tool=callgrind` counts them for `request_cost`."""

import re
import subprocess
import sys
import tempfile

KINDS = ["cycle", "bare-acquire", "bare-release", "renew", "bare-renew", "minimal", "look"]
FEW, MANY = 50, 150


def instructions(binary, kind, times):
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", binary, kind, str(times)]
        report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return int(re.search(r"Collected : (\d+)", report).group(1))


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else "target/release/examples/request_cost"
    per = {}
    for kind in KINDS:
        per[kind] = (instructions(binary, kind, MANY) - instructions(binary, kind, FEW)) / (MANY - FEW)
        print(f"{kind:<14} {per[kind]:>12,.0f}")
    bare = per["bare-acquire"] + per["bare-release"]
    print(f"cycle to two bare calls with the same bytes {per['cycle'] / bare:.2f}")
    print(f"cycle to two minimal calls                  {per['cycle'] / (2 * per['minimal']):.2f}")
    print(f"renewal to a bare call with the same bytes  {per['renew'] / per['bare-renew']:.2f}")


main()
