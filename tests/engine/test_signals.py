"""How the driver of a sweep is ended from outside."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys
from pathlib import Path
from omsweep.engine.signals import interruptible
try:
    with interruptible():
        os.kill(os.getpid(), signal.SIGHUP)
        ended = "went on"
except KeyboardInterrupt:
    ended = "interrupted"
print("printed")
sys.stdout.flush()
Path(sys.argv[1]).write_text(ended)
"""


@pytest.mark.parametrize(
    ("ignored", "ended", "printed"),
    [
        (False, "interrupted", ""),  # the terminal is gone: a print would raise there
        (True, "went on", "printed\n"),
    ],
)
def test_a_lost_terminal_ends_a_sweep_in_order_unless_nohup_says_otherwise(
    tmp_path: Path, ignored: bool, ended: str, printed: str
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "ended")],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )
    assert (tmp_path / "ended").read_text() == ended
    assert result.stdout == printed
