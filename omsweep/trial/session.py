"""One trial's work in one process: train with the online merging optimizer, then score the policy.

Runs in a Ray Train worker or in the Tune actor itself; knows neither. Rank 0 scores and saves, the others only train.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omsweep.space.search_space import SearchSpace, build_space, match_of, train_settings
from omsweep.trial.gpu_memory import hold_gpu_memory
from omsweep.trial.prepare.family import EVALUATION_SEED, family_reference, placed, sft_model, unplaced_sft_model
from omsweep.trial.prepare.training_data import data_of

ACTIVE_SHARE = 0.01
"""Below this share of merged-in movement in a trial's displacement nothing may be credited to merging."""


def train_and_score(
    job: Mapping[str, Any],
    *,
    rank: int = 0,
    resume_from: Path | None = None,
    on_step: Callable[[int, dict], None] | None = None,
    on_checkpoint: Callable[[int, Path], None] | None = None,
) -> dict[str, Any]:
    """Train one sample and score it on the search split.

    Args:
        job: plain data: `sample`, `content` (resolved space), `prepared` (of the sample's SFT model), `folder` (the
            sweep's), `started` (Unix time at which the trial was started).
        rank: of this process in the trial's worker group.
        resume_from: checkpoint folder to continue from.
        on_step: called with step and metrics after each optimizer step.
        on_checkpoint: called with step and folder of each checkpoint.

    Returns:
        The fields of the trial object that are known here; from ranks above 0 an empty dict.
    """
    import torch

    from omsweep.align.train import train
    from omsweep.families.load import load_tokenizer
    from omsweep.optim.task_vector_file import open_task_vector

    space, sample, prepared = build_space(job["content"]), job["sample"], job["prepared"]
    hold_gpu_memory(prepared["gpu_memory_gib"])
    settings = dataclasses.replace(
        train_settings(space, sample), match=match_of(space, sample), dtype=prepared["dtype"]
    )
    tokenizer = load_tokenizer(
        prepared["sft"], revision=prepared["sft_revision"], chat_template=prepared["chat_template"]
    )
    model = unplaced_sft_model(prepared) if settings.sharded else sft_model(prepared)
    uses_tau = settings.merge.resolved().needs_task_vector
    work = Path(job["folder"]) / "work" / sample["trial_id"]
    begun = time.time()
    outcome = train(
        settings,
        model=model,
        tokenizer=tokenizer,
        data=Path(data_of(space, sample, prepared)),
        replay=Path(prepared["replay"]) if settings.replay_share else None,
        task_vector=open_task_vector(prepared["task_vectors"][sample["task_vector"]]) if uses_tau else None,
        output_dir=work,
        on_step=on_step,
        on_checkpoint=on_checkpoint,
        resume_from=resume_from,
    )
    if rank > 0:
        return {}
    placed(model)
    trained = {
        "state": outcome.state,
        "learning_rate_applied": outcome.learning_rate_applied,
        "diagnostics": outcome.diagnostics,
        "merge_active": _merge_active(outcome.diagnostics),
        "steps": outcome.steps,
        "tokens": outcome.tokens,
        "accelerator": torch.cuda.get_device_name() if model.device.type == "cuda" else "cpu",
        "error": None if outcome.state == "completed" else f"loss or weights not finite after step {outcome.steps}",
        "losses": outcome.losses,
        "preflight": outcome.preflight,
    }
    scored_from = time.time()
    scored = _scored_and_saved(space, job, model, tokenizer) if outcome.state == "completed" else {}
    seconds = {
        **outcome.seconds,
        "start": begun - job["started"] + outcome.seconds["start"],
        "evaluate": time.time() - scored_from,
    }
    return {**trained, **scored, "seconds": seconds}


def score_saved(job: Mapping[str, Any], policy_path: str, split: str) -> dict[str, Any]:
    """Score a saved policy on a split against the SFT model; returns the trial object's score fields."""
    from omsweep.families.load import load_model, load_tokenizer

    space, prepared = build_space(job["content"]), job["prepared"]
    hold_gpu_memory(prepared["gpu_memory_gib"])
    policy = placed(load_model(policy_path, dtype=prepared["dtype"]))
    tokenizer = load_tokenizer(policy_path, chat_template=prepared["chat_template"])
    return score_split(space, prepared, policy, tokenizer, sft_model(prepared), split)[1]


def score_split(
    space: SearchSpace, prepared: Mapping[str, Any], model: Any, tokenizer: Any, sft: Any, split: str
) -> tuple[Any, dict[str, Any]]:
    """A policy's table of scores on a split, and the trial object's score fields from it.

    Args:
        space: says what is measured.
        prepared: of the policy's SFT model.
        model: the policy.
        tokenizer: its tokenizer.
        sft: the SFT model, for `kl`.
        split: `search` or `report`.
    """
    from omsweep.evaluation.score import score_policy
    from omsweep.evaluation.statistics import compare

    frame = score_policy(
        model, tokenizer, settings=space.evaluate, split=split, seed=EVALUATION_SEED, reference_model=sft
    )
    return frame, compare(frame, family_reference(space, prepared, split))


def score_splits(
    space: SearchSpace, prepared: Mapping[str, Any], model: Any, tokenizer: Any, sft: Any
) -> tuple[Any, dict[str, Any]]:
    """As `score_split` over every split of the space; the report split's numbers are those named `_report`."""
    import pandas

    from omsweep.results.front import as_report

    frames: list[Any] = []
    fields: dict[str, Any] = {}
    for split in space.splits:
        frame, numbers = score_split(space, prepared, model, tokenizer, sft, split)
        frames.append(frame)
        fields |= numbers if split == "search" else as_report(numbers)
    return pandas.concat(frames, ignore_index=True), fields


def _scored_and_saved(space: SearchSpace, job: Mapping[str, Any], model: Any, tokenizer: Any) -> dict[str, Any]:
    from omsweep.families.load import weights_hash
    from omsweep.store.folder import SweepFolder

    model.eval()
    prepared, folder, trial_id = job["prepared"], Path(job["folder"]), job["sample"]["trial_id"]
    # First what was dear: a scorer that fails must not cost the weights.
    policy = policy_folder(folder, trial_id)
    model.save_pretrained(policy)
    tokenizer.save_pretrained(policy)
    frame, fields = score_splits(space, prepared, model, tokenizer, sft_model(prepared))
    SweepFolder(folder.parent, folder.name).write_scores(trial_id, frame)
    return {**fields, "policy_path": str(policy), "weights_hash": weights_hash(str(policy))}


def policy_folder(folder: Path, trial_id: str) -> Path:
    """Where a sweep's folder keeps the policy of a trial."""
    return folder / "policies" / trial_id


def _merge_active(diagnostics: Mapping[str, float]) -> bool | None:
    share = diagnostics.get("merged_share")
    return None if share is None or not math.isfinite(share) else share >= ACTIVE_SHARE
