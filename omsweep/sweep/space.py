"""A checked search space: families, shared knobs and one branch per method, and the samples made of them. Torch-free.

A *sample* is a flat dict of plain values that fixes one trial: identity (`trial_id, family, block, seed, label,
baseline`), the shared knobs, `method` and the knobs of that method. `online_merge` and `train_settings` turn it into
the settings its trainer takes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omsweep.align.algorithms import ALGORITHMS
from omsweep.align.settings import TrainSettings
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.families.family import ModelFamily
from omsweep.families.table import family_from
from omsweep.merging.knobs import METHOD_KNOBS
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.travel import TRAVEL_METHODS, alpha_for_travel
from omsweep.preferences.settings import PreferenceData, preferences_from
from omsweep.sweep.knobs import Knob, Scalar, SpaceError, edge_values, parse_knob
from omsweep.sweep.reading import validate
from omsweep.sweep.schema import NAME_PATTERN, Design, Search, SpaceFile

REQUIRED_KNOBS = ("algorithm", "learning_rate", "beta")
TRAIN_KNOBS = ("steps", "warmup_steps", "weight_decay", "max_grad_norm", "lr_scheduler")
SHARED_KNOBS = REQUIRED_KNOBS + TRAIN_KNOBS
WHOLE_NUMBERS = ("steps", "warmup_steps", "gap_steps", "min_kept")
WORDS = ("algorithm", "lr_scheduler", "semantics", "alpha_schedule", "rescale", "elect", "tau_mask")


@dataclass(frozen=True)
class Branch:
    """One entry of `space.method`: a method under a label, with its own knobs and those it overrides."""

    label: str
    method: str
    knobs: Mapping[str, Knob]


@dataclass(frozen=True)
class SearchSpace:
    """A checked search space; `file` holds the sections that need no further reading."""

    file: SpaceFile
    families: tuple[ModelFamily, ...]
    preferences: PreferenceData
    evaluate: EvaluateSettings
    shared: Mapping[str, Knob]
    branches: tuple[Branch, ...]

    @property
    def family_names(self) -> list[str]:
        """Names of the families, in the file's order."""
        return [family.name for family in self.families]

    @property
    def design(self) -> Design:
        """The blocked design (defaults where the file has none)."""
        return self.file.design or Design()

    @property
    def search(self) -> Search:
        """The adaptive search (defaults where the file has none)."""
        return self.file.search or Search()

    def resolved(self) -> dict[str, Any]:
        """The whole space as plain data with every default filled in: what `sweep.json` records."""
        content = self.file.model_dump(mode="json", exclude={"design", "search", "baselines"})
        if self.file.mode == "compare":
            content["design"] = self.design.model_dump(mode="json")
        else:
            content["search"] = self.search.model_dump(mode="json")
            content["baselines"] = self.file.baselines
        return content


def build_space(content: Mapping[str, Any]) -> SearchSpace:
    """Check a search space given as plain data; raises SpaceError."""
    file = validate(content)
    _check_mode(file)
    _check_backend(file)
    space = SearchSpace(
        file=file,
        families=tuple(_at(f"families.{i}", family_from, raw) for i, raw in enumerate(file.families)),
        preferences=_at("preferences", preferences_from, file.preferences),
        evaluate=_at("evaluate", lambda raw: EvaluateSettings(**raw), file.evaluate.model_dump()),
        shared=_shared_knobs(file.space),
        branches=_branches(file.space.get("method")),
    )
    _check_names(space)
    for branch in space.branches:
        _check_branch(space, branch)
    return space


def make_sample(
    space: SearchSpace,
    branch: Branch,
    values: Mapping[str, Scalar],
    *,
    trial_id: str,
    family: str,
    block: int | None,
    seed: int,
    baseline: bool = False,
) -> dict[str, Any]:
    """One flat sample from drawn knob values; `tau_travel`, where given, becomes `alpha` (and is kept beside it)."""
    sample: dict[str, Any] = {
        "trial_id": trial_id,
        "family": family,
        "block": block,
        "seed": seed,
        "baseline": baseline,
        "label": branch.label,
        "method": branch.method,
        **values,
    }
    if "tau_travel" in sample:
        sample["alpha"] = _alpha_of(space, sample)
    return sample


def online_merge(sample: Mapping[str, Any]) -> OnlineMerge:
    """The merge settings of a sample; raises ValueError naming knob, value and range."""
    own = {name: sample[name] for name in METHOD_KNOBS[sample["method"]] if name in sample}
    return OnlineMerge(sample["method"], seed=sample["seed"], **own)


def train_settings(space: SearchSpace, sample: Mapping[str, Any]) -> TrainSettings:
    """The settings of a sample's trainer (`dtype`: the family's where the file leaves it open); raises ValueError."""
    train = space.file.train
    return TrainSettings(
        algorithm=sample["algorithm"],
        learning_rate=sample["learning_rate"],
        beta=sample["beta"],
        seed=sample["seed"],
        merge=online_merge(sample),
        batch_size=train.batch_size,
        workers=train.workers,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        gradient_checkpointing=train.gradient_checkpointing,
        sharding=train.sharding,
        dtype=train.dtype or "float32",
        max_length=train.max_length,
        checkpoint_every=train.checkpoint_every,
        **{name: sample.get(name, getattr(train, name)) for name in TRAIN_KNOBS},
    )


def allowed_knobs(method: str) -> list[str]:
    """Knobs a branch of `method` may set: its own, `tau_travel` where alpha follows from it, and shared ones."""
    travel = ["tau_travel"] if method in TRAVEL_METHODS else []
    return [*METHOD_KNOBS[method], *travel, *SHARED_KNOBS]


def _check_mode(file: SpaceFile) -> None:
    foreign = {"compare": ("search", "baselines"), "search": ("design",)}[file.mode]
    for key in foreign:
        if getattr(file, key):
            raise SpaceError(key, f"belongs to the other mode, and mode is {file.mode!r}; remove it or change mode")


def _check_backend(file: SpaceFile) -> None:
    if file.train.backend == "inprocess" and file.train.workers > 1:
        raise SpaceError("train.workers", f"must be 1 with backend 'inprocess', got {file.train.workers}")
    if file.train.backend == "inprocess" and file.train.sharding != "ddp":
        raise SpaceError("train.sharding", "fsdp2 needs backend 'train', whose workers hold the parts of the model")
    if file.train.backend == "inprocess" and (file.train.checkpoint_every or file.train.max_failures):
        key = "checkpoint_every" if file.train.checkpoint_every else "max_failures"
        raise SpaceError(f"train.{key}", "needs backend 'train', whose workers can be restarted from a checkpoint")


def _shared_knobs(raw: Mapping[str, Any]) -> dict[str, Knob]:
    for key in raw:
        if key not in (*SHARED_KNOBS, "method"):
            allowed = ", ".join((*SHARED_KNOBS, "method"))
            raise SpaceError(f"space.{key}", f"unknown key {key!r}; allowed: {allowed}")
    for key in (*REQUIRED_KNOBS, "method"):
        if key not in raw:
            raise SpaceError(f"space.{key}", "is missing and has no default")
    return {name: parse_knob(raw[name], f"space.{name}") for name in SHARED_KNOBS if name in raw}


def _branches(raw: Any) -> tuple[Branch, ...]:
    if isinstance(raw, str):
        raw = {raw: {}}
    if not isinstance(raw, Mapping) or not raw:
        raise SpaceError("space.method", f"must be a mapping of labels to knobs, got {raw!r}")
    return tuple(_branch(str(label), knobs) for label, knobs in raw.items())


def _branch(label: str, raw: Any) -> Branch:
    path = f"space.method.{label}"
    if raw is not None and not isinstance(raw, Mapping):
        raise SpaceError(path, f"must be a mapping of knobs ({{}} for none), got {raw!r}")
    knobs = dict(raw or {})
    method = knobs.pop("method", label)
    if method not in METHOD_KNOBS:
        where = f"{path}.method" if method != label else path
        hint = "" if method != label else f" (a label of your own names its method: {label}: {{method: ondare, ...}})"
        raise SpaceError(where, f"unknown method {method!r}; allowed: {', '.join(METHOD_KNOBS)}{hint}")
    for key in knobs:
        if key not in allowed_knobs(method):
            allowed = ", ".join(allowed_knobs(method))
            raise SpaceError(f"{path}.{key}", f"unknown key {key!r} for method {method!r}; allowed: {allowed}")
    if "tau_travel" in knobs and "alpha" in knobs:
        raise SpaceError(f"{path}.alpha", "follows from tau_travel; give one of the two")
    return Branch(label, method, {key: parse_knob(value, f"{path}.{key}") for key, value in knobs.items()})


def _check_names(space: SearchSpace) -> None:
    names = space.family_names
    for i, name in enumerate(names):
        if not re.fullmatch(NAME_PATTERN, name):
            raise SpaceError(f"families.{i}.name", f"must be letters, digits, '.', '_' and '-', got {name!r}")
    for branch in space.branches:
        if not re.fullmatch(NAME_PATTERN, branch.label):
            raise SpaceError("space.method", f"labels must be letters, digits, '.', '_' and '-', got {branch.label!r}")
    if len(set(names)) < len(names):
        raise SpaceError("families", f"must not repeat a family, got {names!r}")
    algorithms = [("space.algorithm", space.shared["algorithm"])]
    algorithms += [
        (f"space.method.{b.label}.algorithm", b.knobs["algorithm"]) for b in space.branches if "algorithm" in b.knobs
    ]
    for path, knob in algorithms:
        for value in edge_values(knob):
            if value not in ALGORITHMS:
                raise SpaceError(path, f"unknown algorithm {value!r}; allowed: {', '.join(ALGORITHMS)}")


def _check_branch(space: SearchSpace, branch: Branch) -> None:
    """Try every fixed value, choice and end of range as plain settings, one knob at a time."""
    knobs = {**space.shared, **branch.knobs}
    for name, knob in knobs.items():
        for value in edge_values(knob):
            _check_kind(_knob_path(space, branch, name), name, value)
    for values, changed in _edges(knobs):
        _try_settings(space, branch, values, suspect=changed)


def _edges(knobs: Mapping[str, Knob]) -> Iterator[tuple[dict[str, Scalar], str | None]]:
    """Every fixed value, choice and end of range, one knob at a time, with the name of that knob (None: all first)."""
    usual = {name: edge_values(knob)[0] for name, knob in knobs.items()}
    yield usual, None
    for name, knob in knobs.items():
        for value in edge_values(knob)[1:]:
            yield {**usual, name: value}, name


def _check_kind(path: str, name: str, value: Scalar) -> None:
    if isinstance(value, Mapping):  # of numbers, checked when it was read
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or isinstance(value, float)
    if name in WHOLE_NUMBERS and not whole:
        raise SpaceError(path, f"must be a whole number, got {value!r}")
    if name not in WORDS and not number and not (value is None and name == "clip"):
        raise SpaceError(path, f"must be a number, got {value!r}")


def _knob_path(space: SearchSpace, branch: Branch, name: str) -> str:
    return f"space.method.{branch.label}.{name}" if name in branch.knobs else f"space.{name}"


def _try_settings(space: SearchSpace, branch: Branch, values: Mapping[str, Scalar], suspect: str | None = None) -> None:
    try:
        sample = make_sample(space, branch, values, trial_id="check", family="check", block=0, seed=0)
        train_settings(space, sample)
    except (ValueError, TypeError) as error:
        raise SpaceError(_path_of(space, branch, str(error), suspect), str(error)) from None


def _path_of(space: SearchSpace, branch: Branch, message: str, suspect: str | None) -> str:
    """The key path a settings error is about: these messages start with the name of what is wrong."""
    first = message.split(maxsplit=1)[0].strip("`'\":,") if message else ""
    name = first if first in branch.knobs or first in space.shared else suspect
    if name is not None and (name in branch.knobs or name in space.shared):
        return _knob_path(space, branch, name)
    if first in type(space.file.train).model_fields:
        return f"train.{first}"
    return f"space.method.{branch.label}"


def _alpha_of(space: SearchSpace, sample: Mapping[str, Any]) -> float:
    online_merge(sample)  # whatever is wrong with the other knobs is said first
    names = ("steps", "warmup_steps", "lr_scheduler")
    schedule = {name: sample.get(name, getattr(space.file.train, name)) for name in names}
    axes = ("semantics", "density", "gap_steps", "alpha_schedule", "rescale")
    given = {name: sample[name] for name in axes if name in sample}
    return alpha_for_travel(sample["tau_travel"], method=sample["method"], **schedule, **given)


def _at(path: str, read: Any, raw: Any) -> Any:
    """Call `read(raw)`; a ValueError becomes a SpaceError at `path`."""
    try:
        return read(raw)
    except (ValueError, TypeError) as error:
        name = str(error).split(maxsplit=1)[0] if str(error) else ""
        inner = f"{path}.{name}" if isinstance(raw, Mapping) and name in raw else path
        raise SpaceError(inner, str(error)) from None


def algorithms_of(space: SearchSpace) -> list[str]:
    """Every algorithm that some branch can draw: those whose data have to be prepared."""
    knobs = [branch.knobs.get("algorithm", space.shared["algorithm"]) for branch in space.branches]
    return sorted({str(value) for knob in knobs for value in edge_values(knob)})


def needs_task_vector(space: SearchSpace) -> bool:
    """Whether some branch can draw settings in which tau takes part."""
    return any(online_merge(sample).resolved().needs_task_vector for sample in edge_samples(space))


def edge_samples(space: SearchSpace) -> Iterator[dict[str, Any]]:
    """A sample for every fixed value, choice and end of range of every branch, one knob at a time."""
    for branch in space.branches:
        for values, _ in _edges({**space.shared, **branch.knobs}):
            yield make_sample(space, branch, values, trial_id="check", family="check", block=0, seed=0)
