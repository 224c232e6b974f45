"""`omsweep` in a process of its own, under a condition that a campaign sets: `python -m tests.driver_process JSON ...`.

What follows the conditions is the command line of `omsweep`. Conditions, all of them optional:

    dies_at   the process kills itself at this call that changes a file below `under`; a write is torn
    under     folder
    counted   file that is told at the end how many such calls there were
    work      name of one of `WORKS`, which stands in for the work of a sweep
    machine   name of the machine that the process takes itself to run on
    address   of the Ray that it is to run on
"""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from omsweep.align.settings import WHOLE
from omsweep.store.records import Outcome, Prepared, TrialSpec
from omsweep.trial.progress import ProgressWriter, progress_file
from tests import stub_work

STEP_SECONDS = 0.1
HUNGRY_GIB = 4
PATHS, FILES = ("link", "replace", "unlink", "rename"), ("write", "fsync")


def step_by_step(
    spec: TrialSpec, prepared: Prepared, folder: Path, *, started: float, resume_from: Path | None = None, **_: Any
) -> Outcome:
    """A trial that takes its time and goes on from its last checkpoint, which holds the losses until then."""
    train = spec.train or {}
    losses = [] if resume_from is None else json.loads((resume_from / "losses").read_text())
    writer = ProgressWriter(progress_file(folder, spec.trial_id))
    for step in range(len(losses) + 1, train["steps"] + 1):
        time.sleep(STEP_SECONDS)
        losses.append(1 / step)
        writer(step, {"loss": losses[-1]})
        if train["checkpoint_every"] and step % train["checkpoint_every"] == 0:
            checkpoint = folder / "work" / spec.trial_id / f"checkpoint-{step}"
            checkpoint.mkdir(parents=True, exist_ok=True)
            (checkpoint / "losses").write_text(json.dumps(losses))
            (checkpoint / WHOLE).touch()
    outcome = stub_work.session(spec, prepared, folder, started=started)
    return outcome.model_copy(update={"losses": tuple(losses)})


def hungry(spec: TrialSpec, prepared: Prepared, folder: Path, **given: Any) -> Outcome:
    """The trials of OnDARE take memory until they are killed, the others a second."""
    held = []
    while spec.label == "ondare" and len(held) < 16 * HUNGRY_GIB:
        held.append(bytearray(b"x" * (1 << 26)))
        time.sleep(0.02)
    time.sleep(120 if held else 1)
    return stub_work.session(spec, prepared, folder, **given)


WORKS = {
    "steps": replace(stub_work.STUB, session=step_by_step),
    "hungry": replace(stub_work.STUB, session=hungry),
}


class Mortal:
    """Counts the calls of this process that change what lies below a folder, and ends it at the one it is told."""

    def __init__(self, under: str, dies_at: int | None) -> None:
        self._under, self._dies_at = under, dies_at
        self.count = 0
        for name in (*PATHS, *FILES):
            setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, call: Any) -> Any:
        def counted(target: Any, *given: Any, **named: Any) -> Any:
            if self._is_below(name, target):
                self.count += 1
                if self.count == self._dies_at:
                    if name == "write":
                        call(target, given[0][: len(given[0]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(target, *given, **named)

        return counted

    def _is_below(self, name: str, target: Any) -> bool:
        path = os.readlink(f"/proc/self/fd/{target}") if name in FILES else os.fspath(target)
        return str(path).startswith(self._under)


def main(conditions: dict[str, Any], arguments: list[str]) -> int:
    """Run `omsweep` under conditions."""
    from omsweep import cli
    from omsweep.engine import run as driver
    from omsweep.store import lease

    if "address" in conditions:
        os.environ["RAY_ADDRESS"] = conditions["address"]
    if "work" in conditions:
        driver.run_sweep = partial(driver.run_sweep, work=WORKS[conditions["work"]])  # type: ignore[assignment]
    if "machine" in conditions:
        lease._machine = lambda: str(conditions["machine"])
    counts = Mortal(conditions["under"], conditions.get("dies_at")) if "under" in conditions else None
    code = cli.main(arguments)
    if "counted" in conditions and counts is not None:
        Path(conditions["counted"]).write_text(str(counts.count))
    return code


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
