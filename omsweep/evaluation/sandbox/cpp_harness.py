"""What compiles a C++ program inside the sandbox and compares its outputs. Standard library only.

The program is a process of its own: it cannot look into this one, so that the secret and the expected outputs are safe.
"""

import ctypes
import json
import math
import os
import resource
import subprocess
import sys
from typing import Any

CHANNEL = 3
LIBRARIES_MIB = 64
PR_SET_DUMPABLE = 4
FLAGS = ("-O1", "-std=c++17", "-w", "-fmax-errors=3")


def main() -> None:
    """Compile, run, compare, and say how it went."""
    given = json.loads(sys.stdin.read())
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.set_inheritable(CHANNEL, False)
    said = problem(given)
    os.write(CHANNEL, json.dumps({"reason": said[:1000]} if said else {"secret": given["secret"]}).encode())


def problem(given: dict[str, Any]) -> str:
    """What is wrong with the program; empty for nothing."""
    command = [given["compiler"], *FLAGS, "-o", "program", "program.cpp"]
    compiled = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if compiled.returncode:
        errors = [line for line in compiled.stderr.splitlines() if "error" in line]
        return f"does not compile: {(errors or [compiled.stderr])[0]}"
    memory, seconds = (given["memory_mib"] + LIBRARIES_MIB) << 20, math.ceil(given["seconds"])

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

    for number, (text, expected) in enumerate(given["tests"], 1):
        try:
            with open("output", "w+b") as output:
                done = subprocess.run(
                    ["./program"], input=text.encode(), stdout=output, timeout=5 * seconds, preexec_fn=limit
                )
                output.seek(0)
                found = output.read().decode(errors="replace")
        except subprocess.TimeoutExpired:
            return f"test {number}: too slow"
        if done.returncode:
            return f"test {number}: ended with status {done.returncode}"
        if lines(found) != lines(expected):
            return f"test {number}: other output than expected"
    return ""


def lines(text: str) -> list[str]:
    """Without spaces at their ends and empty ones at the end."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


if __name__ == "__main__":
    main()
