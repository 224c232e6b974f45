"""How the driver of a sweep is ended from outside: signals become KeyboardInterrupt, so that results are written."""

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C, SIGTERM and, without `nohup`, SIGHUP raise KeyboardInterrupt here instead of Tune's own handling."""
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"

    def interrupt(number: int, _frame: Any) -> None:
        if number == signal.SIGHUP:
            _leave_terminal()
        raise KeyboardInterrupt

    ending = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        ending.remove(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_terminal() -> None:
    """Send output to nowhere unless it goes to a file: a print to a lost terminal raises, and would cost the report."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        if not stat.S_ISREG(os.fstat(output).st_mode):
            os.dup2(nowhere, output)
    os.close(nowhere)
