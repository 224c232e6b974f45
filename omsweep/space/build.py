"""From plain data to a checked search space: every section read, every branch tried. Torch-free."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omsweep.align.algorithms import ALGORITHMS
from omsweep.align.settings import DTYPES as TRAINED_DTYPES
from omsweep.evaluation.backends.settings import backend_from
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.families.family import NOTHING_DECLARED, ModelFamily
from omsweep.families.table import family_from
from omsweep.preferences.settings import preferences_from, replay_from
from omsweep.space.branches import (
    MATCH,
    Branch,
    read_branches,
    read_shared,
)
from omsweep.space.checks.budget import check_budget
from omsweep.space.checks.controls import check_sft_seeds, check_task_vectors
from omsweep.space.checks.corners import check_kind, edges, lies_idle
from omsweep.space.checks.study import check_study
from omsweep.space.crossing import crossed
from omsweep.space.data_sources import check_replay
from omsweep.space.knobs import Scalar, SpaceError, edge_values
from omsweep.space.parse import validate
from omsweep.space.posthoc import over_levels, read_posthoc
from omsweep.space.samples import make_sample, train_settings
from omsweep.space.schema import MOST_TRIALS, NAME_PATTERN, NOT_MEASURED, SpaceFile
from omsweep.space.search_space import SearchSpace


def build_space(content: Mapping[str, Any]) -> SearchSpace:
    """Check a search space given as plain data; raises SpaceError."""
    file = validate(content)
    _check_mode(file)
    _check_backend(file)
    _check_objectives(file)
    _check_scheduler(file)
    branches = read_branches(file.space.get("method"))
    space = SearchSpace(
        file=file,
        families=tuple(_at(f"families.{i}", _family, raw) for i, raw in enumerate(file.families)),
        preferences=_at("preferences", preferences_from, file.preferences),
        evaluate=_at(
            "evaluate", lambda raw: EvaluateSettings(**raw), file.evaluate.model_dump(exclude=set(NOT_MEASURED))
        ),
        shared=read_shared(file.space),
        branches=branches,
        posthoc=read_posthoc(file.posthoc, branches, file.mode),
        replay=None if file.replay is None else _at("replay", replay_from, file.replay),
    )
    _check_names(space)
    _check_size(space)
    check_budget(file.budget, file.train, space.families)
    _check_dtypes(space)
    check_sft_seeds(space.families, space.design.sft_range)
    check_task_vectors(space.families, space.shared, space.branches)
    check_replay(space.replay, space.families, space.shared, space.branches)
    for branch in space.branches:
        if branch.match is not None and file.mode == "search":
            raise SpaceError(f"space.method.{branch.origin}.{MATCH}", "is of mode compare: a search matches nothing")
        if lies_idle(space.knobs_of(branch), "lora_alpha", "lora_rank"):
            raise SpaceError(_knob_path(space, branch, "lora_alpha"), "needs lora_rank above 0 beside it")
        _check_branch(space, branch)
    if space.design.ladder and (space.design.match != "none" or any(branch.match for branch in space.branches)):
        raise SpaceError("design.ladder", "gives every method the same learning rates: design.match must be none")
    if space.design.cross:
        levels = crossed(space.branches, space.shared, space.design.cross)
        space = replace(space, branches=levels, posthoc=over_levels(space.posthoc, levels))
        _check_size(space)
        for branch in space.branches:
            _check_branch(space, branch)
    check_study(file, space.shared, space.branches)
    return space


def _family(raw: str | Mapping[str, Any]) -> ModelFamily:
    name = raw.get("name") if isinstance(raw, Mapping) else raw
    if name is not None and not isinstance(name, str):
        raise ValueError(f"name must be text, got {name!r}: YAML reads it so, quote it")
    return family_from(raw)


def _check_size(space: SearchSpace) -> None:
    """A compare sweep of at most `MOST_TRIALS` trials, so that whatever counts or draws them comes to an end."""
    design = space.design
    places = len(space.families) * design.sft_seeds * design.blocks * design.seeds * max(1, len(design.ladder))
    trials = places * len(space.branches)
    if space.file.mode == "compare" and trials > MOST_TRIALS:
        raise SpaceError(
            "design",
            f"a sweep has at most {MOST_TRIALS} trials, and this one {trials}: {len(space.families)} families,"
            f" sft_seeds {design.sft_seeds}, blocks {design.blocks}, seeds {design.seeds}, doses"
            f" {max(1, len(design.ladder))}, methods {len(space.branches)}",
        )


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
    if file.train.backend == "inprocess" and file.train.max_failures:
        raise SpaceError("train.max_failures", "needs backend 'train', whose workers can be restarted by themselves")
    if file.train.backend == "inprocess" and file.evaluate.workers is not None:
        raise SpaceError("evaluate.workers", "needs backend 'train': 'inprocess' has no groups of workers")
    if file.evaluate.workers is None and file.evaluate.resources_per_worker != NOTHING_DECLARED:
        raise SpaceError(
            "evaluate.resources_per_worker", "needs evaluate.workers: else scoring is done where trials train"
        )


def _check_objectives(file: SpaceFile) -> None:
    if file.objectives.tax != "tax" and file.evaluate.limit == 1:
        raise SpaceError(
            "objectives.tax",
            f"{file.objectives.tax} is corrected for item noise, which one item of each task does not show: give"
            " evaluate.limit at least 2, or use tax",
        )


def _check_scheduler(file: SpaceFile) -> None:
    given, steps = file.scheduler, file.train.steps
    if given.algorithm == "none":
        if idle := sorted(given.model_fields_set - {"algorithm"}):
            raise SpaceError(f"scheduler.{idle[0]}", "needs scheduler.algorithm, moasha or median: none stops nothing")
        return
    if file.mode == "compare":
        raise SpaceError(
            "scheduler.algorithm",
            f"{given.algorithm} is of mode search: arms are compared on trials that ran to the end",
        )
    if file.objectives.tax != "tax":
        raise SpaceError("objectives.tax", f"must be tax, whose noise stopping knows, got {file.objectives.tax}")
    if given.algorithm == "median" and given.variant == "promote":
        raise SpaceError("scheduler.variant", "promote is of moasha: the median rule stops only")
    if given.first_rung >= steps and "steps" not in file.space:
        raise SpaceError("scheduler.first_rung", f"must be below train.steps, {steps}, got {given.first_rung}")
    if backend_from(file.evaluate.backend).serves:
        raise SpaceError(
            "evaluate.backend", "must be transformers where trials are stopped: a rung scores a copy in memory"
        )
    if file.evaluate.limit == 1:
        raise SpaceError("evaluate.limit", "must be at least 2 where trials are stopped: one item shows no noise")


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
    """Try every fixed value, choice and end of range as plain settings, two knobs at a time: some exclude others."""
    knobs = space.knobs_of(branch)
    for name, knob in knobs.items():
        for value in edge_values(knob):
            check_kind(_knob_path(space, branch, name), name, value)
    for values, changed in edges(knobs, together=2):
        _try_settings(space, branch, values, suspect=changed)


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


def _at(path: str, read: Any, raw: Any) -> Any:
    """Call `read(raw)`; a ValueError becomes a SpaceError at `path`."""
    try:
        return read(raw)
    except (ValueError, TypeError) as error:
        name = str(error).split(maxsplit=1)[0] if str(error) else ""
        inner = f"{path}.{name}" if isinstance(raw, Mapping) and name in raw else path
        raise SpaceError(inner, str(error)) from None


def _check_dtypes(space: SearchSpace) -> None:
    """A family's own dtype must be one to train in, unless the file gives another."""
    for number, family in enumerate(space.families):
        if space.file.train.dtype is None and family.dtype not in TRAINED_DTYPES:
            allowed = ", ".join(TRAINED_DTYPES)
            raise SpaceError(
                f"families.{number}.dtype", f"training takes {allowed}, got {family.dtype}: give one, or train.dtype"
            )
