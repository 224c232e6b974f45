"""Ray Tune's side of a proposer: its trials as configurations, and how they ended told back."""

from typing import Any

from ray.tune.search import Searcher

from omsweep.plan.proposer import Proposer

OUTCOME = "outcome/"
"""Tune flattens the keys of what a trial reports."""


class ProposerSearcher(Searcher):
    """Asks a proposer for every trial and tells it the outcome; a trial that left none is told as such."""

    def __init__(self, proposer: Proposer) -> None:
        super().__init__()
        self._proposer = proposer
        self._asked: dict[str, str] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next trial as `{"spec": {...}}`, or FINISHED once every trial was started."""
        spec = self._proposer.next()
        if spec is None:
            return Searcher.FINISHED
        self._asked[trial_id] = spec.trial_id
        return {"spec": spec.model_dump()}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Tell the proposer how the trial ended."""
        outcome = {key.removeprefix(OUTCOME): value for key, value in (result or {}).items() if key.startswith(OUTCOME)}
        self._proposer.tell(self._asked.pop(trial_id), None if error else outcome)

    def save(self, checkpoint_path: str) -> None:
        """Nothing is saved: a sweep's trials.jsonl is the truth, studies are rebuilt from it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore, see `save`."""
