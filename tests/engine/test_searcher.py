"""What Ray Tune asks for and tells reaches the proposer: one trial per suggestion, and how each ended."""

from collections.abc import Mapping
from typing import Any

from ray.tune.search import Searcher

from omsweep.engine.searcher import ProposerSearcher
from omsweep.store.records import TrialSpec


class Two:
    """Proposes two trials and remembers what it was told."""

    def __init__(self) -> None:
        self.left, self.told = [TrialSpec(trial_id=name, family="f") for name in ("b", "a")], {}

    def next(self) -> TrialSpec | None:
        return self.left.pop() if self.left else None

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        self.told[trial_id] = outcome


def test_suggestions_are_trials_and_ends_are_told_by_trial_id() -> None:
    proposer = Two()
    searcher = ProposerSearcher(proposer)
    suggested = [searcher.suggest(f"t{i}") for i in range(3)]
    assert [TrialSpec(**content["spec"]).trial_id for content in suggested[:2]] == ["a", "b"]
    assert suggested[2] == Searcher.FINISHED
    flattened = {"outcome/state": "completed", "outcome/reward": 0.5, "training_iteration": 1}
    searcher.on_trial_complete("t1", flattened)
    searcher.on_trial_complete("t0", flattened, error=True)
    assert proposer.told == {"b": {"state": "completed", "reward": 0.5}, "a": None}


def test_a_trial_without_a_result_is_told_as_one_without_an_outcome_field() -> None:
    proposer = Two()
    searcher = ProposerSearcher(proposer)
    searcher.suggest("t0")
    searcher.on_trial_complete("t0", None)
    assert proposer.told == {"a": {}}
