"""A trial keeps its weights before it scores them, and what an earlier session left is gone on with."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from omsweep.align.settings import WHOLE
from omsweep.store.records import Outcome, Prepared, TrialSpec
from omsweep.trial import session
from omsweep.trial.session import TrialSession, last_checkpoint, policy_folder, run_session

PREPARED = Prepared(base="b", sft="s", weights_hash="ab", dtype="float32")
NOTED = {"tau_travel": 0.2, "displacement": 3.0, "displacement_se": 0.5, "merged_norm": 0.03, "merged_share": 0.01}
TRAINED = Outcome(
    state="completed",
    steps=3,
    losses=(0.7, 0.6, 0.5),
    seconds={"start": 1.0, "train": 2.0},
    diagnostics=NOTED | {"election_dropped_share": 0.0},
    merge_active=True,
)


class Saved:
    """A model or tokenizer as far as it is saved."""

    def __init__(self, name: str) -> None:
        self._name = name

    def eval(self) -> "Saved":
        return self

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self._name).touch()


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> TrialSpec:
    """A trial whose training is a stand-in and whose scorer fails."""

    def train(self: TrialSession, **_: Any) -> Outcome:
        self._model = Saved("weights")
        return TRAINED

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("the judge does not fit")

    monkeypatch.setattr(TrialSession, "train", train)
    monkeypatch.setattr(session, "sft_tokenizer", lambda _: Saved("tokenizer"))
    monkeypatch.setattr(session, "sft_model", lambda _: SimpleNamespace())
    monkeypatch.setattr(session, "placed", lambda model: model)
    monkeypatch.setattr(session, "split_of", lambda *_: {"travel": 0.1, "residual": 3.9, "displacement": 4.0})
    monkeypatch.setattr(session, "score_splits", fail)
    monkeypatch.setattr("omsweep.families.load.weights_hash", lambda *_: "cd")
    return TrialSpec(trial_id="one", family="f")


def test_a_scorer_that_fails_costs_no_weights(spec: TrialSpec, tmp_path: Path) -> None:
    outcome = run_session(spec, PREPARED, tmp_path, started=0.0)
    assert outcome is not None
    assert (outcome.state, outcome.error) == ("failed", "scoring failed: MemoryError: the judge does not fit")
    assert (outcome.policy_path, outcome.weights_hash) == (str(policy_folder(tmp_path, "one")), "cd")
    assert (outcome.steps, outcome.losses) == (3, TRAINED.losses)
    assert sorted(file.name for file in policy_folder(tmp_path, "one").iterdir()) == ["tokenizer", "weights"]


def test_where_a_policy_ended_is_measured_on_all_its_weights(spec: TrialSpec, tmp_path: Path) -> None:
    outcome = run_session(spec, PREPARED, tmp_path, started=0.0)
    assert outcome is not None
    assert outcome.diagnostics == {
        "tau_travel": 0.2,
        "travel": 0.1,
        "residual": 3.9,
        "displacement": 4.0,
        "merged_norm": 0.03,
        "merged_share": 0.03 / 4.0,
        "election_dropped_share": 0.0,
    }
    assert outcome.merge_active is False  # by the sampled displacement it was active


def test_a_saved_policy_is_scored_in_a_session_of_its_own(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_session(spec, PREPARED, tmp_path, started=0.0)
    frame = pd.DataFrame({"item_id": ["a"], "score": [1.0]})
    monkeypatch.setattr(session, "_saved_policy", lambda path, _: Saved(path))
    monkeypatch.setattr(session, "score_splits", lambda *_, **__: (frame, {"reward": 0.5}))
    assert TrialSession(spec, PREPARED, tmp_path).evaluate() == {"reward": 0.5}
    assert (tmp_path / "scores" / "one.parquet").exists()


def test_only_rank_0_saves_and_scores(spec: TrialSpec, tmp_path: Path) -> None:
    assert run_session(spec, PREPARED, tmp_path, started=0.0, rank=1) is None
    assert not policy_folder(tmp_path, "one").exists()


def test_a_trial_that_is_trained_is_scored_and_not_trained_again(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_session(spec, PREPARED, tmp_path, started=0.0)
    assert before is not None
    assert before.reason == "scoring failed"
    assert "MemoryError" in str(before.traceback)
    frame = pd.DataFrame({"item_id": ["a"], "score": [1.0]})
    monkeypatch.setattr(session, "_saved_policy", lambda path, _: Saved(path))
    monkeypatch.setattr(session, "score_splits", lambda *_, **__: (frame, {"reward": 0.5}))
    trained: list[str] = []
    train = TrialSession.train

    def noted(self: TrialSession, **given: Any) -> Outcome:
        trained.append(self.spec.trial_id)
        return train(self, **given)

    monkeypatch.setattr(TrialSession, "train", noted)
    again = run_session(spec, PREPARED, tmp_path, started=0.0)
    assert again is not None
    assert (again.state, again.reward, again.error, trained) == ("completed", 0.5, None, [])
    assert (again.losses, again.diagnostics) == (TRAINED.losses, before.diagnostics)
    assert run_session(spec, PREPARED, tmp_path, started=0.0, rank=1) is None
    run_session(spec.model_copy(update={"seed": 5}), PREPARED, tmp_path, started=0.0)
    assert trained == ["one"]  # another trial of that name trains
    monkeypatch.setattr("omsweep.families.load.weights_hash", lambda *_: "other")
    run_session(spec, PREPARED, tmp_path, started=0.0)
    assert trained == ["one", "one"]  # weights that were changed since are not its own


def test_the_newest_whole_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path, "one") is None
    for step, whole in ((5, True), (10, True), (15, False)):
        folder = tmp_path / "work" / "one" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if whole:
            (folder / WHOLE).touch()
    assert last_checkpoint(tmp_path, "one") == tmp_path / "work" / "one" / "checkpoint-10"
    assert last_checkpoint(tmp_path, "on") is None


def test_a_trial_is_trained_in_one_session_and_scored_in_another(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = run_session(spec, PREPARED, tmp_path, started=0.0, part="train")
    assert kept is not None
    assert (kept.state, kept.reason, kept.weights_hash, kept.losses) == ("completed", "trained", "cd", TRAINED.losses)
    assert run_session(spec, PREPARED, tmp_path, started=0.0, part="train") == kept  # a driver that did not hear of it
    assert run_session(spec, PREPARED, tmp_path, started=0.0, rank=1, part="train") is None
    frame = pd.DataFrame({"item_id": ["a"], "score": [1.0]})
    monkeypatch.setattr(session, "_saved_policy", lambda path, _: Saved(path))
    monkeypatch.setattr(session, "score_splits", lambda *_, **__: (frame, {"reward": 0.5}))
    scored = run_session(spec, PREPARED, tmp_path, started=0.0, part="score")
    assert scored is not None
    assert (scored.reward, scored.reason, scored.weights_hash) == (0.5, None, "cd")
    monkeypatch.setattr("omsweep.families.load.weights_hash", lambda *_: "ef")
    with pytest.raises(FileNotFoundError, match="is gone or changed: `omsweep retry` trains the trial again"):
        run_session(spec, PREPARED, tmp_path, started=0.0, part="score")


def test_for_a_server_the_models_make_room(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Scoring gets the folder that was kept and no model in memory."""
    served = {"backend": {"name": "openai", "command": "serve {model} {port}"}}
    one, seen = TrialSession(spec.model_copy(update={"evaluate": served}), PREPARED, tmp_path), []
    session.trained_note(tmp_path, spec.trial_id).parent.mkdir(parents=True)

    def score(_: object, __: object, models: Any, *___: object, **____: object) -> Any:
        seen.append(models)
        raise ValueError("the server of evaluate.backend ended with status 7: out of memory")

    monkeypatch.setattr(session, "score_splits", score)
    outcome = session._scored(one, one.train(), session.alone)
    assert (outcome.state, outcome.policy_path) == ("failed", str(one.policy_folder))
    assert outcome.error == (
        "scoring failed: ValueError: the server of evaluate.backend ended with status 7: out of memory"
    )
    assert (seen[0].policy, seen[0].reference, seen[0].folder) == (None, None, str(one.policy_folder))
    assert one._model is None
    assert "_sft" not in vars(one)
