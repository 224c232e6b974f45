"""A *sample*: a flat dict of plain values that fixes one trial, and the settings its trainer takes. Torch-free.

Identity (`trial_id, family, sft_seed, block, seed, dose, label, baseline, task_vector`), the shared knobs, `method` and
the knobs of that method. It stays in this room; what leaves it is a `TrialSpec` (`omsweep.space.specs`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omsweep.align.settings import TrainSettings, train_settings_from
from omsweep.merging.methods import METHODS
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.travel import alpha_for_travel
from omsweep.space.branches import MATCH, RECIPE_KNOBS, TASK_VECTOR, TRAIN_KNOBS, Branch
from omsweep.space.checks.corners import edges
from omsweep.space.knobs import Fixed, Scalar, edge_values
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TASK_VECTORS


def make_sample(
    space: SearchSpace,
    branch: Branch,
    values: Mapping[str, Scalar],
    *,
    trial_id: str,
    family: str,
    block: int | None,
    seed: int,
    sft_seed: int = 0,
    dose: float | None = None,
    baseline: bool = False,
) -> dict[str, Any]:
    """One flat sample from drawn knob values; `tau_travel`, where given, becomes `alpha` (and is kept beside it).

    `dose`, where given, multiplies the learning rate.
    """
    sample: dict[str, Any] = {
        "trial_id": trial_id,
        "family": family,
        "sft_seed": sft_seed,
        "block": block,
        "seed": seed,
        "dose": dose,
        "baseline": baseline,
        "label": branch.label,
        "method": branch.method,
        TASK_VECTOR: "real",
        **values,
    }
    if dose is not None:
        sample["learning_rate"] *= dose
    if branch.preferences is not None:
        sample["preferences"] = branch.preferences.source
    if branch.match is not None:
        sample[MATCH] = branch.match
    if "tau_travel" in sample:
        sample["alpha"] = _alpha_of(space, sample)
    return sample


def merge_mapping(sample: Mapping[str, Any]) -> dict[str, Any]:
    """The merge settings of a sample as plain data, unchecked."""
    own = {name: sample[name] for name in METHODS[sample["method"]].knobs if name in sample}
    return {"method": sample["method"], "seed": sample["seed"], **own}


def online_merge(sample: Mapping[str, Any]) -> OnlineMerge:
    """The merge settings of a sample; raises ValueError naming knob, value and range."""
    return OnlineMerge(**merge_mapping(sample))


def match_of(space: SearchSpace, sample: Mapping[str, Any]) -> str:
    """Whether a sample's learning rate is matched: `share` or `none`."""
    return str(sample.get(MATCH, space.design.match)) if space.file.mode == "compare" else "none"


def train_mapping(space: SearchSpace, sample: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a sample's trainer as plain data, unchecked: what is wrong with them is the trial's own failure.

    `dtype` is float32 where the file leaves it to the family.
    """
    train = space.file.train
    fixed = ("batch_size", "workers", "gradient_accumulation_steps", "gradient_checkpointing", "sharding")
    return {
        **{name: sample[name] for name in ("algorithm", "learning_rate", "beta", "seed")},
        "merge": merge_mapping(sample),
        **{name: getattr(train, name) for name in (*fixed, "max_length", "checkpoint_every")},
        "dtype": train.dtype or "float32",
        **{name: sample.get(name, getattr(train, name)) for name in TRAIN_KNOBS},
        **{name: sample[name] for name in RECIPE_KNOBS if name in sample},
    }


def train_settings(space: SearchSpace, sample: Mapping[str, Any]) -> TrainSettings:
    """The settings of a sample's trainer; raises ValueError."""
    return train_settings_from(train_mapping(space, sample))


def task_vectors_of(space: SearchSpace) -> list[str]:
    """Every kind of task vector that some branch can merge, in `TASK_VECTORS`' order; none where tau is unused."""
    found = set()
    for branch in space.branches:
        if any(online_merge(sample).resolved().needs_task_vector for sample in edge_samples(space, [branch])):
            found |= set(edge_values(space.knobs_of(branch).get(TASK_VECTOR, Fixed("real"))))
    return [kind for kind in TASK_VECTORS if kind in found]


def edge_samples(space: SearchSpace, branches: Sequence[Branch] | None = None) -> Iterator[dict[str, Any]]:
    """A sample for every fixed value, choice and end of range of the branches (None: all), two knobs at a time."""
    for branch in space.branches if branches is None else branches:
        for values, _ in edges(space.knobs_of(branch), together=2):
            yield make_sample(space, branch, values, trial_id="check", family="check", block=0, seed=0)


def _alpha_of(space: SearchSpace, sample: Mapping[str, Any]) -> float:
    online_merge(sample)  # whatever is wrong with the other knobs is said first
    names = ("steps", "warmup_steps", "lr_scheduler")
    schedule = {name: sample.get(name, getattr(space.file.train, name)) for name in names}
    axes = ("semantics", "density", "gap_steps", "alpha_schedule", "rescale", "clip")
    given = {name: sample[name] for name in axes if name in sample}
    return alpha_for_travel(sample["tau_travel"], method=sample["method"], **schedule, **given)
