"""Whether training and scoring of every family fit what its workers are declared to have. Torch-free."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from omsweep.align.algorithms import ALGORITHMS
from omsweep.align.settings import known_share
from omsweep.families.family import GIB, ModelFamily, Resources
from omsweep.families.folder import check_causal, check_model
from omsweep.families.presence import place_of, with_shape
from omsweep.optim.settings import DTYPE_BYTES
from omsweep.space.knobs import SpaceError
from omsweep.space.memory import Load, training_bytes
from omsweep.space.resources import scorer_resources, worker_resources
from omsweep.space.samples import edge_samples, match_of, online_merge
from omsweep.space.search_space import SearchSpace

LIMITS = {True: "gpu_memory_gib", False: "memory_gib"}
"""The key of `resources_per_worker` that bounds training, by whether a worker has a GPU."""


@dataclass(frozen=True)
class Need:
    """What the most demanding sample of a family takes: bytes by term, and under which label, algorithm and load."""

    terms: Mapping[str, int]
    load: Load
    label: str
    algorithm: str

    @property
    def total(self) -> int:
        """Bytes of all terms."""
        return sum(self.terms.values())

    def describe(self) -> str:
        """The total and its terms in GiB, and what they are of."""
        terms = " + ".join(f"{name} {_gib(size)}" for name, size in self.terms.items())
        load = self.load
        what = f"{self.label}, {self.algorithm}, {load.sequences} sequences of {load.max_length} tokens, {load.dtype}"
        return f"{_gib(self.total)} GiB = {terms} ({what})"


def need_of(space: SearchSpace, family: ModelFamily) -> Need | None:
    """The most that one worker can need of memory in training; None where the family's size is not known."""
    family = with_shape(family)
    if family.size is None:
        return None
    return max(_needs(space, family, family.size), key=lambda need: need.total)


def limit_of(space: SearchSpace, family: ModelFamily) -> tuple[str, float | None]:
    """Name and GiB of what bounds a worker's training memory: its GPU's where it has one, else the host's."""
    return _limit(worker_resources(space.file.train, family))


def _limit(resources: Resources) -> tuple[str, float | None]:
    name = LIMITS[bool(resources.gpus)]
    return name, getattr(resources, name)


def check_fit(space: SearchSpace) -> None:
    """Refuse a space in which some family cannot be trained or scored on what its workers are declared to have.

    Raises:
        SpaceError: with the terms of the sum and what would make it fit; a GPU memory without a GPU; what is neither
            folder nor hub id; a folder that holds no such model.
    """
    for reward in space.evaluate.all_rewards:
        if reward.model is not None:
            key = "reward" if reward is space.evaluate.reward else f"rewards.{reward.name}"
            _check_place(reward.model, reward.revision, f"evaluate.{key}.model", check_model)
    for index, family in enumerate(space.families):
        _check_places(family, f"families.{index}")
        scorers = scorer_resources(space.file.evaluate, space.file.train, family)
        section = "train" if space.file.evaluate.workers is None else "evaluate"
        for part, one in {section: scorers, "train": worker_resources(space.file.train, family)}.items():
            if one.gpu_memory_gib is not None and not one.gpus:
                raise SpaceError(
                    f"{part}.resources_per_worker.gpu_memory_gib", "needs resources_per_worker.gpus above 0"
                )
        name, gib = limit_of(space, family)
        need = need_of(space, family)
        if need is not None and gib is not None and need.total > gib * GIB:
            raise SpaceError(
                f"families.{index}",
                f"{family.name} cannot train on workers with resources_per_worker.{name} {gib:g}: it needs about"
                f" {need.describe()}; make it fit with {', '.join(_remedies(space, need, name))}",
            )
        name, gib = _limit(scorers)
        if need is not None and gib is not None and (scoring := scoring_bytes(need.load)) > gib * GIB:
            raise SpaceError(
                f"families.{index}",
                f"{family.name} cannot be scored on workers with resources_per_worker.{name} {gib:g}: however it is"
                f" sharded, one worker holds policy and SFT model whole, {_gib(scoring)} GiB as {need.load.dtype}; give"
                f" workers more memory ({section}.resources_per_worker.{name})",
            )


def scoring_bytes(load: Load) -> int:
    """The least that scoring holds on one worker: the weights of policy and SFT model, without a reward model's."""
    return 2 * DTYPE_BYTES[load.dtype] * load.parameters


def _check_places(family: ModelFamily, path: str) -> None:
    if family.recipe is not None:
        return
    _check_place(family.base, family.revision, f"{path}.base", partial(check_causal, answers=False))
    sft = {"sft": family.sft} | {f"other_sft.{i}": model for i, model in enumerate(family.other_sft)}
    for key, model in sft.items():
        _check_place(model, family.revision, f"{path}.{key}", partial(check_causal, answers=True))


def _check_place(model: str, revision: str | None, path: str, check: Callable[[Path], object]) -> None:
    """Refuse what is neither folder nor hub id, and a folder of this machine that `check` refuses."""
    try:
        if place_of(model, revision=revision) == "folder":
            check(Path(model).expanduser())
    except ValueError as error:
        raise SpaceError(path, str(error)) from None


def _needs(space: SearchSpace, family: ModelFamily, parameters: int) -> Iterator[Need]:
    train = space.file.train
    for sample in edge_samples(space):
        merge = online_merge(sample)
        paired = ALGORITHMS[sample["algorithm"]].data_kind == "paired"
        load = Load(
            parameters=parameters,
            shape=family.shape,
            dtype=train.dtype or family.dtype,
            tau_dtype=train.task_vector_dtype,
            sequences=(2 if paired else 1) * train.batch_size // (train.workers * train.gradient_accumulation_steps),
            max_length=train.max_length,
            workers=train.workers,
            sharded=train.sharding == "fsdp2",
            checkpointed=train.gradient_checkpointing,
            adapter_rank=sample.get("lora_rank", 0),
        )
        matched = match_of(space, sample) == "share"
        terms = training_bytes(load, merge.resolved(), pilot=matched and known_share(merge) is None)
        if space.file.scheduler.algorithm != "none":
            terms = {**terms, "scoring at rungs": scoring_bytes(load)}
        yield Need(terms, load, sample["label"], sample["algorithm"])


def _remedies(space: SearchSpace, need: Need, limit: str) -> list[str]:
    """What would make the sum smaller, the largest terms first in mind; only what is still to be had."""
    train, found = space.file.train, []
    if {"activations", "logits"} & need.terms.keys():
        found.append(f"train.max_length below {train.max_length}")
        passes = train.workers * train.gradient_accumulation_steps
        if train.batch_size > passes:
            groups = "" if train.backend == "train" else " (with train.backend: train)"
            found.append(
                f"a smaller train.batch_size, more train.workers{groups} or train.gradient_accumulation_steps"
                f" (now {train.batch_size} over {train.workers} x {train.gradient_accumulation_steps})"
            )
    if "activations" in need.terms and not train.gradient_checkpointing:
        found.append("train.gradient_checkpointing: true")
    if train.workers > 1 and train.sharding != "fsdp2":
        found.append("train.sharding: fsdp2")
    if need.load.dtype == "float32":
        found.append("train.dtype: bfloat16")
    if "task vector" in need.terms and need.load.tau_dtype == "float32":
        found.append("train.task_vector_dtype: bfloat16")
    found.append(f"workers with more memory (train.resources_per_worker.{limit})")
    return found


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}" if size >= GIB / 10 else f"{size / GIB:.2g}"
