"""Programs that a sandbox has to hold: what each tries, and what must come of it; they are written out in hostile.txt.

A program that tries to reach something passes when it could not: it raises where it got through, so that `passed` says
"held". Words between @ signs are what the battery puts on the machine to be found.
"""

import re
from dataclasses import dataclass
from pathlib import Path

PRELUDE = '''
import os

column = 0 if os.uname().machine == "x86_64" else 1

def refused(attempt, *arguments):
    """A call of Python's that has to fail."""
    try:
        attempt(*arguments)
    except (OSError, ValueError):
        return
    raise RuntimeError(f"got through: {attempt} {arguments}")

def denied(*call):
    """A system call, by its number, that has to fail."""
    import ctypes
    if ctypes.CDLL(None).syscall(*call) != -1:
        raise RuntimeError(f"got through: {call}")

def unreadable(*paths):
    """Files that must not be there, or not be readable."""
    for path in paths:
        try:
            content = open(path, "rb").read(1000)
        except OSError:
            continue
        raise RuntimeError(f"read {path}: {content!r}")

'''
"""What every program can call."""


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A program by the name of what it tries, with the outcomes that show that it was held."""

    name: str
    outcomes: tuple[str, ...]
    program: str


def _read() -> tuple[Hostile, ...]:
    text = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
    _, *parts = re.split(r"^=== (.+?) \| (.+)\n", text, flags=re.M)
    rows = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return tuple(
        Hostile(name=name, outcomes=tuple(outcomes.split(", ")), program=PRELUDE + program)
        for name, outcomes, program in rows
    )


HOSTILE = _read()
