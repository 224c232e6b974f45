"""What the second sweep of a cache is given without any model at work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omsweep.cache.use import noted
from omsweep.families.tiny.architecture import random_family
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.space.specs import preparation
from omsweep.trial.prepare.family import Milestones, prepare_family
from omsweep.trial.prepare.made import LOG_PROBS, describe, made_of
from omsweep.trial.prepare.reference import score_references

PAIRS = 12


@pytest.fixture
def ready(compare: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, bool]]:
    """Make a sweep of so many blocks ready, in the same cache each time."""
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "cache"))
    base, sft = (str(random_family(tmp_path / name, hidden_size=32, intermediate_size=32)) for name in ("base", "sft"))
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(f'{{"prompt": "say {n}", "chosen": "yes", "rejected": "no"}}\n' for n in range(PAIRS)))
    compare |= {"families": [{"name": "mine", "base": base, "sft": sft}], "preferences": str(pairs)}
    compare["space"]["algorithm"] = "dpo"
    compare["train"] = {"steps": 1, "batch_size": 2}
    compare["evaluate"] = {"limit": 1, "samples": 1, "max_new_tokens": 2}

    def prepared(blocks: int) -> dict[str, bool]:
        space = build_space(compare | {"design": {"blocks": blocks}})
        wanted = preparation(space, "mine", trials=draw(space))
        with noted() as used:
            models, _ = prepare_family(wanted, Milestones)
        return made_of(used, scored=score_references(wanted, models, Milestones))

    return prepared


def test_a_second_sweep_tokenises_and_scores_nothing_and_a_larger_one_what_is_new_alone(
    ready: Callable[..., dict[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ready(1)
    assert set(made.values()) == {True}
    assert {"tokens", "task vectors", "SFT scores", LOG_PROBS} < made.keys()

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("no model may be loaded")

    with monkeypatch.context() as patched:
        for place in ("omsweep.families.load.load_model", "omsweep.align.data.load_model"):
            patched.setattr(place, never)
        assert ready(1) == dict.fromkeys(made, False)
    assert ready(2) == dict.fromkeys(made, False) | {LOG_PROBS: True}, "a larger one reads pairs that are new to it"


def test_a_part_of_several_entries_was_made_where_one_was() -> None:
    kinds = {"prepared": False, "too_long": True, "families": False, "model_hashes": True}
    made = made_of({Path("cache") / kind / "0": built for kind, built in kinds.items()}, scored=0)
    assert describe(made) == "tokens made, models cached, reference log-probs cached"
