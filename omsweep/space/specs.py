"""From a search space to what leaves it: trials with everything resolved, and what has to be prepared. Torch-free."""

from collections.abc import Iterable, Mapping
from typing import Any

from omsweep.merging.posthoc import POSTHOC_METHODS
from omsweep.space.checks.controls import other_seed
from omsweep.space.data_sources import algorithms_by_source, replays
from omsweep.space.reads import possible_reads, reads_of
from omsweep.space.resources import worker_resources
from omsweep.space.samples import match_of, task_vectors_of, train_mapping
from omsweep.space.schema import NOT_MEASURED, Evaluate
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TrialIdentity, TrialSpec
from omsweep.trial.prepare.request import Preparation

OPERATIONAL = (
    *(f"train.{name}" for name in ("max_failures", "reuse_workers", "trial_timeout", "wait_timeout")),
    *("train.concurrent_trials", "train.resources_per_worker"),
    *(f"evaluate.{name}" for name in ("allow_suite_code", "allow_code_execution", "workers", "resources_per_worker")),
    *("keep.", "budget.", "secrets.", "project", "tracking."),
)
"""Settings that say how a sweep is run, not what it finds: they may change when it is gone on with."""
_IF_GIVEN = (
    "allow_suite_code",
    "data_root",
    "data",
    "tasks",
    "allow_code_execution",
    "backend",
    "allow_scorer_code",
    "rewards",
)
"""Keys of the `evaluate` section that a trial's record has only where they say something."""
UNRECORDED = (
    *("task_vector_dtype", "checkpoint_every", "max_failures", "reuse_workers", "trial_timeout", "wait_timeout"),
    *("concurrent_trials", "resources_per_worker"),
)
"""Keys of the `train` section that a trial's parameters do not repeat: they say where and how safely, not what."""


def trial_spec(space: SearchSpace, sample: Mapping[str, Any]) -> TrialSpec:
    """The trial that a sample fixes; settings that its trainer refuses are that trial's failure, not raised here."""
    identity = {name: sample[name] for name in TrialIdentity.model_fields if name in sample}
    family = next(family for family in space.families if family.name == sample["family"])
    own = {"match": match_of(space, sample), "dtype": space.file.train.dtype or family.dtype}
    fixed = space.file.train.model_dump(mode="json", exclude=set(UNRECORDED))
    knobs = {name: value for name, value in sample.items() if name not in identity}
    source = next(branch for branch in space.branches if branch.label == sample["label"]).preferences
    return TrialSpec(
        **identity,
        params={**fixed, "dtype": own["dtype"], **knobs},
        data=(source or space.preferences).key,
        train={**train_mapping(space, sample), **own},
        **evaluation(space),
    )


def evaluation(space: SearchSpace) -> dict[str, Any]:
    """How every policy of a space is scored: `evaluate` and `splits` of a `TrialSpec`."""
    section = space.file.evaluate
    idle = {name for name in _IF_GIVEN if getattr(section, name) == Evaluate.model_fields[name].default}
    evaluate = section.model_dump(mode="json", exclude={*NOT_MEASURED, *idle})  # no word of what is not done
    return {"evaluate": evaluate, "splits": space.splits}


def preparation(
    space: SearchSpace,
    family_name: str,
    *,
    sft_seed: int = 0,
    trials: Iterable[TrialSpec] | None = None,
    every_row: bool = False,
) -> Preparation:
    """What has to be ready before the trials start from one SFT model of one of the space's families.

    `trials` are those that will start from it, None where only the space says what they may be; `every_row` where not
    even that is known: any seed, any number of steps.
    """
    reads = possible_reads(space) if trials is None else reads_of(trials)
    listed = next(family for family in space.families if family.name == family_name)
    kinds, train = tuple(task_vectors_of(space)), space.file.train
    other = listed.with_sft_seed(other_seed(sft_seed, space.design.sft_range)) if "other_seed" in kinds else None
    by_part = [(grid.label, point) for grid in space.posthoc for point in grid.points if point.row.by_name]
    return Preparation(
        family=listed.with_sft_seed(sft_seed),
        other=other,
        dtype=train.dtype or listed.dtype,
        gpu_memory_gib=worker_resources(train, listed).gpu_memory_gib,
        evaluate=space.evaluate,
        splits=space.splits,
        task_vectors=kinds,
        task_vector_dtype=train.task_vector_dtype,
        sources=tuple(
            (
                source,
                tuple((one, None if every_row else reads.pairs.get((source.key, one), ())) for one in algorithms),
            )
            for source, algorithms in algorithms_by_source(space.preferences, space.shared, space.branches)
        ),
        replays=replays(space.shared, space.branches),
        replay_read=None if every_row else reads.replay,
        replay=space.replay,
        batch_size=train.batch_size,
        workers=train.workers,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        max_length=train.max_length,
        base_users=tuple(
            f"posthoc.{grid.label}" for grid in space.posthoc if "base" in POSTHOC_METHODS[grid.method].models
        ),
        points_by_part=tuple((f"posthoc.{label}.weights", point) for label, point in by_part),
    )
