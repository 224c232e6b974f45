"""A trial keeps its weights before it scores them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omsweep.space.search_space import build_space
from omsweep.trial import session as job


class Saved:
    """A model or tokenizer as far as it is saved."""

    def __init__(self, name: str) -> None:
        self._name = name

    def eval(self) -> None:
        pass

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self._name).touch()


def test_a_scorer_that_fails_costs_no_weights(
    tmp_path: Path, compare: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("the judge does not fit")

    monkeypatch.setattr(job, "sft_model", lambda _: SimpleNamespace())
    monkeypatch.setattr(job, "score_splits", fail)
    task = {"prepared": {}, "folder": str(tmp_path), "sample": {"trial_id": "one"}}
    with pytest.raises(MemoryError):
        job._scored_and_saved(build_space(compare), task, Saved("weights"), Saved("tokenizer"))
    assert sorted(file.name for file in job.policy_folder(tmp_path, "one").iterdir()) == ["tokenizer", "weights"]
