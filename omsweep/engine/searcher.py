"""Ray Tune's side of the queue: its trials as configurations. How they end reaches the queue through `TuneEvents`."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from omsweep.plan.attempts import TrialQueue


class QueueSearcher(Searcher):
    """Asks the queue for every attempt; nothing is saved by Tune, a search goes on from the log.

    Args:
        queue: of the sweep.
        check: raises what must end the sweep: while nothing runs, Tune does nothing but ask.
    """

    def __init__(self, queue: TrialQueue, check: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._queue, self._check = queue, check

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher for a restore of its own, and this one belongs to the living driver."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next attempt as `{"spec": {...}, "attempt": n}`, None while nothing can start, or FINISHED."""
        self._check()
        job = self._queue.next()
        if job is not None:
            return {"spec": job.spec.model_dump(), "attempt": job.attempt}
        return Searcher.FINISHED if self._queue.finished else None

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Nothing: the queue was told."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing, see above."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see above."""
