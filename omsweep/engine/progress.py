"""What running trials write into their files, losses and that they are trained, from there into the log."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omsweep.plan.attempts import Attempts
from omsweep.store.lease import LeaseLost
from omsweep.strict_json import read_json
from omsweep.trial.progress import progress_file, read_losses
from omsweep.trial.session import trained_note

SECONDS = 2.0


@contextmanager
def progress_noted(attempts: Attempts, folder: Path) -> Iterator[None]:
    """Inside, a thread notes every few seconds what the trials that run have written.

    Args:
        attempts: of the sweep.
        folder: the sweep's.
    """
    ended = threading.Event()
    positions: dict[str, int] = {}

    def note() -> None:
        with suppress(LeaseLost):  # the driver finds out for itself
            while not ended.wait(SECONDS):
                note_new()

    def note_new() -> None:
        for trial_id in attempts.running():
            found, positions[trial_id] = read_losses(progress_file(folder, trial_id), positions.get(trial_id, 0))
            for losses in found:
                attempts.note_losses(trial_id, losses.first_step, losses.losses)
            if (note_file := trained_note(folder, trial_id)).is_file():
                attempts.note_trained(trial_id, read_json(note_file)["outcome"])

    thread = threading.Thread(target=note, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
