"""Stand-ins for the work of a sweep: no model, milliseconds a trial, numbers that follow from the settings."""

import math
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from ray import cloudpickle

from omsweep.align.settings import train_settings_from
from omsweep.engine.executor import Work
from omsweep.evaluation.score import COLUMNS
from omsweep.evaluation.statistics import reward_and_tax
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TRAINED, Outcome, Part, Prepared, Scores, TrialRecord, TrialSpec
from omsweep.trial.session import policy_folder

ITEMS = 4


def prepare(wanted: Any, progress: Any) -> tuple[Prepared, pd.DataFrame]:
    frame = pd.concat([table(0.0, split) for split in wanted.splits], ignore_index=True)
    prepared = Prepared(
        base="base",
        sft="sft",
        weights_hash="ab",
        dtype=wanted.dtype,
        sft_seed=wanted.family.sft_seed,
        reference=Scores(**numbers(0.0, "search")),
    )
    return prepared, frame


def session(
    spec: TrialSpec,
    prepared: Prepared,
    folder: Path,
    *,
    started: float,
    part: Part = "whole",
    resume_from: Path | None = None,
    **_: Any,
) -> Outcome:
    """A trial that walks as far as its learning rate says; above 1 it diverges, and what no trainer takes raises."""
    settings = train_settings_from(spec.train or {})
    if settings.learning_rate > 1:
        return Outcome(state="diverged", steps=1, error="loss or weights not finite after step 1")
    policy = policy_folder(folder, spec.trial_id)
    policy.mkdir(parents=True, exist_ok=True)
    (policy / "weights").write_text(spec.trial_id)
    trained = {"steps": settings.steps, "losses": (0.7, 0.6), "seconds": {"train": 0.0}, "weights_hash": "cd"}
    trained |= {"policy_path": str(policy), "diagnostics": {"tau_travel": 0.1, "travel": 0.1}}
    if part == "train":
        return Outcome(state="completed", reason=TRAINED, **trained)
    return scored(spec, folder, strength(settings.learning_rate)).model_copy(update=trained)


def points(parent: TrialRecord, prepared: Prepared, folder: Path) -> Callable[[TrialSpec], Outcome]:
    """Post-hoc trials at their weight's share of the parent's way; a weight above 1 raises."""

    def score(spec: TrialSpec) -> Outcome:
        weight = (spec.point or {})["weight"]
        if weight > 1:
            raise ValueError(f"weight must be at most 1, got {weight}")
        return scored(spec, folder, weight * strength(parent.params["learning_rate"]))

    return score


def rescore(
    trial: TrialRecord, parent: Any, prepared: Prepared, folder: Path, evaluate: Any, split: str
) -> dict[str, Any]:
    return numbers(strength(trial.params["learning_rate"]), split)


@cache
def numbers(way: float, split: str) -> dict[str, Any]:
    return reward_and_tax(table(way, split), table(0.0, split))


def strength(learning_rate: float) -> float:
    """0 at 1e-5, 1 at 1e-3."""
    return min(max((math.log10(learning_rate) + 5) / 2, 0.0), 1.0)


def scored(spec: TrialSpec, folder: Path, way: float) -> Outcome:
    frame = pd.concat([table(way, split) for split in spec.splits], ignore_index=True)
    SweepFolder(folder.parent, folder.name).write_scores(spec.trial_id, frame)
    return Outcome(state="completed", **numbers(way, "search"))


@cache
def table(way: float, split: str) -> pd.DataFrame:
    """Scores of a policy that went `way` from its SFT model: reward rises, one item in four is lost."""
    rows = [
        {"kind": "tax", "task": "sums", "category": "math", "item_id": f"{split}-{n}", "split": split,
         "cluster": f"{split}-{n}", "decoder": "greedy", "sample": 0, "score": float(n > 0 or way < 0.5), "length": 1,
         "kl": math.nan, "kl_sampled": math.nan, "completion": ""}
        for n in range(ITEMS)
    ]  # fmt: skip
    rows += [
        {"kind": "reward", "task": "prompts", "category": "open", "item_id": f"{split}-{n}", "split": split,
         "cluster": f"{split}-{n}", "decoder": decoder, "sample": 0, "score": way + 0.01 * n, "length": 5, "kl": way,
         "kl_sampled": way, "completion": ""}
        for n in range(ITEMS)
        for decoder in ("greedy", "sampled")
    ]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


cloudpickle.register_pickle_by_value(sys.modules[__name__])
STUB = Work(prepare=prepare, reference=lambda *_, **__: 0, session=session, points=points, rescore=rescore)
