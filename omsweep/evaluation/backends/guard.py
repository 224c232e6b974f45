"""Runs a command until it ends or whoever started this does, and then ends every process that came of it.

    python guard.py COMMAND...

Run as a file of its own, so that nothing is imported but the standard library and psutil. Whoever starts it holds its
standard input open: when that closes, because the starter is done or was killed, the command is ended. Processes are
known by `MARK` in their environment, whatever group, session or parent they have by then.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import psutil

MARK = "OMSWEEP_SERVER"
"""Environment variable that the command and all its children have."""

GRACE_SECONDS = 5.0
"""How long they have to end by themselves."""


def marked(mark: str) -> list[psutil.Process]:
    """Processes with this mark, but for the asking one."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def end(mark: str, grace: float = GRACE_SECONDS) -> None:
    """Ask all processes with this mark to end, and kill those that are left."""
    for process in marked(mark):
        with suppress(psutil.Error):
            process.terminate()
    deadline = time.monotonic() + grace
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    while left:  # a process may have started another meanwhile
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1)
        left = marked(mark)


def main(command: list[str]) -> int:
    """Run it; its exit status."""
    mark = os.environ[MARK]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `end` asks all at once, and this one waits for them
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_own_signals)

    def wait_for_starter() -> None:
        sys.stdin.buffer.read()
        end(mark)

    threading.Thread(target=wait_for_starter, daemon=True).start()
    status = process.wait()
    end(mark)
    return status if status >= 0 else 128 - status


def _own_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # at once: a thread waits for standard input, which has no end of its own
