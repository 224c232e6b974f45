"""The driver's eye on running trials: what they write goes into the log, and those that hang are killed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omsweep.engine.tune_queue import TuneEvents
from omsweep.plan.attempts import Attempts
from omsweep.store.lease import LeaseLost
from omsweep.strict_json import read_json
from omsweep.trial.progress import Place, alive_file, place_of, progress_file, read_losses, repeated
from omsweep.trial.session import trained_note

LOOK_SECONDS = 2.0
SILENT_SECONDS = 180.0
"""A process that has been seen alive and gives no sign of life for so long hangs."""


@contextmanager
def watched(watch: "Watch") -> Iterator[None]:
    """Inside, a thread looks every few seconds."""

    def look() -> None:
        with suppress(LeaseLost):  # the driver finds out for itself
            watch.look()

    with repeated(look, LOOK_SECONDS, name="watch"):
        yield


class Watch:
    """What was seen of each running trial.

    Args:
        attempts: of the sweep, told of losses and of trials that are trained.
        events: told which trials hang.
        folder: the sweep's.
        timeout: seconds an attempt may take; None for as long as it likes.
        clock: seconds.
    """

    def __init__(
        self,
        attempts: Attempts,
        events: TuneEvents,
        folder: Path,
        timeout: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attempts, self._events, self._folder = attempts, events, folder
        self._timeout, self._clock = timeout, clock
        self._positions: dict[str, int] = {}
        self._since: dict[str, tuple[Place, float]] = {}
        self._beats: dict[str, tuple[str, float]] = {}

    def look(self) -> None:
        """Note what is new, kill what hangs."""
        running = self._attempts.running()
        for seen in (self._since, self._beats):
            for trial_id in [one for one in seen if one not in running]:
                del seen[trial_id]
        for trial_id in running:
            self._note(trial_id)
            trial = self._attempts.state_of(trial_id)
            place = None if trial is None else place_of(self._folder, trial_id, trial.attempt)
            if place is not None and (why := self._hangs(trial_id, place)) is not None:
                self._events.kill(trial_id, place, why)

    def _note(self, trial_id: str) -> None:
        position = self._positions.get(trial_id, 0)
        found, self._positions[trial_id] = read_losses(progress_file(self._folder, trial_id), position)
        for losses in found:
            self._attempts.note_losses(trial_id, losses.first_step, losses.losses)
        if (file := trained_note(self._folder, trial_id)).is_file():
            self._attempts.note_trained(trial_id, read_json(file)["outcome"])

    def _hangs(self, trial_id: str, place: Place) -> str | None:
        now = self._clock()
        known_place, begun = self._since.get(trial_id, (place, now))
        begun = begun if known_place == place else now
        self._since[trial_id] = place, begun
        if self._timeout is not None and now - begun >= self._timeout:
            return f"not ended after train.trial_timeout, {self._timeout:g} s"
        try:
            beat = alive_file(self._folder, trial_id).read_text()
        except OSError:
            return None  # it has not begun, or its storage is away
        known, seen = self._beats.get(trial_id, ("", now))
        if beat != known:
            self._beats[trial_id] = beat, now
        elif now - seen >= SILENT_SECONDS:
            return f"no sign of life for {SILENT_SECONDS:g} s"
        return None
