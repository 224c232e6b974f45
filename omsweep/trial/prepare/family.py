"""What all trials from one SFT model of a family share: its folders, task vectors, preference data, tokenised data with
reference log-probs, SFT scores.

Everything lands in the cache, keyed by recipe; what is returned is plain data that names it.
"""

import sys
from collections.abc import Mapping
from typing import Any

from omsweep.cache import recipe_hash
from omsweep.families.family import ModelFamily
from omsweep.preferences.settings import PreferenceData
from omsweep.space.checks.controls import other_seed
from omsweep.space.posthoc import check_models, check_parts, needs_base
from omsweep.space.resources import worker_resources
from omsweep.space.search_space import SearchSpace, build_space, task_vectors_of
from omsweep.trial.gpu_memory import hold_gpu_memory
from omsweep.trial.prepare.reward_model import build_reward_model
from omsweep.trial.prepare.training_data import training_data

EVALUATION_SEED = 0
"""Sampling seed of every scoring: the SFT model and all policies meet the same draws."""

PREFERENCE_SEED = 0


class Milestones:
    """A progress bar for logs: one line at each quarter of the way."""

    def __init__(self, *, total: int, desc: str) -> None:
        self._total, self._desc, self._done = total, desc, 0

    def update(self, n: int = 1) -> None:
        """Count `n` more steps."""
        before, self._done = self._done, self._done + n
        if 4 * before // self._total < 4 * self._done // self._total:
            sys.stdout.write(f"{self._desc}: {self._done}/{self._total}\n")
            sys.stdout.flush()

    def close(self) -> None:
        """Nothing is held open."""


def prepare_family(content: Mapping[str, Any], family_name: str, progress: Any, *, sft_seed: int = 0) -> dict[str, Any]:
    """Build or find everything that the trials of one family read which start from one SFT model.

    Args:
        content: the resolved search space as plain data.
        family_name: one of its families.
        progress: a tqdm-like class for progress bars.
        sft_seed: which SFT model of the family.

    Returns:
        Plain dict: `base, sft` (folders or hub ids), `base_revision, sft_revision, dtype, chat_template`,
        `gpu_memory_gib` (what each process is held to, or None), `weights_hash` of the SFT model, `base_hash` of the
        base where post-hoc points need it, `task_vectors` (kind -> file; empty where no branch uses tau), `data` and
        `replay` (see `training_data`), `sft_seed`, `reference` = the SFT model's own scores on the search split, and
        `reference_scores` = its table of scores on every split that all policies are scored on.

    Raises:
        ValueError: a family, preference data, reward prompts or suite that cannot be used, preference prompts that are
            scored on, or a base and SFT model that do not fit.
    """
    import pandas

    from omsweep.evaluation.item_ids import evaluation_ids
    from omsweep.evaluation.statistics import compare
    from omsweep.families.load import load_tokenizer, prepare, weights_hash

    space = build_space(content)
    listed = next(f for f in space.families if f.name == family_name)
    family = listed.with_sft_seed(sft_seed)
    gpu_memory_gib = worker_resources(space.file.train, family).gpu_memory_gib
    hold_gpu_memory(gpu_memory_gib)
    reserved_ids = evaluation_ids(space.evaluate)
    build_reward_model(space.evaluate.reward, progress=progress)
    folders = prepare(family, progress=progress)
    check_models(space.posthoc, family.name, folders.base, folders.sft)
    check_parts(space.posthoc, folders.sft)
    tokenizer = load_tokenizer(folders.sft, revision=folders.sft_revision, chat_template=family.chat_template)
    prepared: dict[str, Any] = {
        "base": str(folders.base),
        "sft": str(folders.sft),
        "base_revision": folders.base_revision,
        "sft_revision": folders.sft_revision,
        "dtype": space.file.train.dtype or family.dtype,
        "chat_template": family.chat_template,
        "sft_seed": family.sft_seed,
        "gpu_memory_gib": gpu_memory_gib,
        "weights_hash": weights_hash(folders.sft, folders.sft_revision),
        "base_hash": weights_hash(folders.base, folders.base_revision) if needs_base(space.posthoc) else None,
    }
    prepared["task_vectors"] = _task_vectors(space, listed, prepared, progress)
    prepared |= training_data(
        space,
        prepared,
        tokenizer,
        lambda source: _preferences(space, source, prepared, tokenizer, progress, reserved_ids=reserved_ids),
    )
    scores = {split: family_reference(space, prepared, split) for split in space.splits}
    prepared["reference"] = compare(scores["search"], scores["search"])
    prepared["reference_scores"] = pandas.concat(scores.values(), ignore_index=True)
    return prepared


def sft_model(prepared: Mapping[str, Any]) -> Any:
    """A fresh copy of a prepared family's SFT model, placed as `placed` says."""
    return placed(unplaced_sft_model(prepared))


def unplaced_sft_model(prepared: Mapping[str, Any]) -> Any:
    """A fresh copy of a prepared family's SFT model on the CPU."""
    from omsweep.families.load import load_model

    return load_model(prepared["sft"], revision=prepared["sft_revision"], dtype=prepared["dtype"])


def placed(model: Any) -> Any:
    """The model, moved to the accelerator where there is one."""
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def family_reference(space: SearchSpace, prepared: Mapping[str, Any], split: str) -> Any:
    """The SFT model's scores on a split, from the cache or scored now."""
    from omsweep.evaluation.score import reference_scores
    from omsweep.families.load import load_tokenizer

    tokenizer = load_tokenizer(
        prepared["sft"], revision=prepared["sft_revision"], chat_template=prepared["chat_template"]
    )
    identity = {name: prepared[name] for name in ("weights_hash", "dtype", "chat_template")}
    return reference_scores(
        recipe_hash(identity),
        lambda: (sft_model(prepared), tokenizer),
        settings=space.evaluate,
        split=split,
        seed=EVALUATION_SEED,
    )


def _task_vectors(
    space: SearchSpace, family: ModelFamily, prepared: Mapping[str, Any], progress: Any
) -> dict[str, str]:
    from omsweep.trial.prepare.task_vectors import task_vector_files

    kinds = task_vectors_of(space)
    other = None
    if "other_seed" in kinds:
        seed = other_seed(prepared["sft_seed"], space.design.sft_seeds)
        other = _other_sft(family.with_sft_seed(seed), progress)
    dtype = space.file.train.task_vector_dtype
    files = task_vector_files(kinds, prepared, other_sft=other, dtype=dtype, progress=progress)
    return {kind: str(file) for kind, file in files.items()}


def _other_sft(family: ModelFamily, progress: Any) -> dict[str, Any]:
    """What is different in a family's facts for another SFT model of it."""
    from omsweep.families.load import prepare, weights_hash

    folders = prepare(family, progress=progress)
    return {
        "sft": folders.sft,
        "sft_revision": folders.sft_revision,
        "weights_hash": weights_hash(folders.sft, folders.sft_revision),
    }


def _preferences(
    space: SearchSpace,
    source: PreferenceData,
    prepared: Mapping[str, Any],
    tokenizer: Any,
    progress: Any,
    *,
    reserved_ids: frozenset[str],
) -> Any:
    from omsweep.evaluation.generation import generate
    from omsweep.preferences.load import load_preferences

    def sample_completions(prompts: Any, samples: int, seed: int) -> list[list[str]]:
        bar = progress(total=len(prompts) * samples, desc="preference answers")
        drawn = generate(
            sft_model(prepared),
            tokenizer,
            prompts,
            samples=samples,
            temperature=1.0,
            max_new_tokens=space.evaluate.max_new_tokens,
            seed=seed,
            batch_size=space.evaluate.batch_size,
            on_finished=bar.update,
        )
        bar.close()
        return [[completion.text for completion in row] for row in drawn]

    sampling = {name: prepared[name] for name in ("weights_hash", "dtype", "chat_template")}
    sampling["max_new_tokens"] = space.evaluate.max_new_tokens
    return load_preferences(
        source,
        family_key=recipe_hash(sampling),
        generate=sample_completions,
        seed=PREFERENCE_SEED,
        reserved_ids=reserved_ids,
    )
