"""The trials of a search space for Ray Tune code of one's own: `trainable` and `tuner`; see docs/tune.md.

No driver of ours and no log: Tune proposes, places, stops and records, and a trial is trained and scored as in a sweep.
"""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune

from omsweep.align.settings import train_settings_from
from omsweep.console import Console
from omsweep.engine.attempt import Attempt, Trial
from omsweep.engine.capacity import Capacity
from omsweep.engine.executor import Work
from omsweep.engine.placement import BESIDE_WORKERS, Worker
from omsweep.engine.prepare import check_own_data, prepare_all
from omsweep.engine.workers.group import Group, WorkerGroup
from omsweep.engine.workers.pool import END_SECONDS, Started, start
from omsweep.plan.starting_points import live_knobs
from omsweep.secrets import guard, take
from omsweep.space.branches import Branch, allowed_knobs
from omsweep.space.checks.corners import check_kind
from omsweep.space.knobs import Choice, Fixed, Integer, Interval, Knob, Scalar, SpaceError, parse_knob
from omsweep.space.load import load_space
from omsweep.space.samples import make_sample, train_settings
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import trial_spec
from omsweep.store.records import Prepared, TrialRecord, TrialSpec
from omsweep.strict_json import write_json
from omsweep.trial.progress import last_place

REAL = Work()
RIVALS = {"alpha": "tau_travel", "tau_travel": "alpha"}
"""One follows from the other: the configuration's replaces the space's."""
OWN_FOLDER, TRIAL_FILE = "omsweep", "trial.json"


def trainable(
    space: SearchSpace | Path | str, *, storage: Path | str | None = None, work: Work = REAL
) -> type[tune.Trainable]:
    """What `tune.Tuner` runs: a configuration of this space is trained and scored, the resources of its trials are set.

    Its families and data are made ready here, once: what the cache holds is not made again. A configuration is flat and
    named by the space file's key paths: `family`, `method` (a label of `space.method`), `seed`, `sft_seed`, shared
    knobs (`learning_rate`), and of a method its own: `method.ondare.density`, read when that method is drawn, or
    `density` alone, for whichever is drawn. What it leaves out has the value that the space fixes. Reports are flat
    rows (`omsweep.engine.attempt.flat`): `loss`, `step` and `epoch` about every second while it trains, then `reward`,
    `tax`, `kl` and the others. A trial that diverges or fails raises after its last report, so that Tune counts it as
    an error and a searcher hears of it; Tune's `FailureConfig(max_failures=...)` goes on from its last checkpoint.

    Args:
        space: a checked search space, or the path of its file.
        storage: a folder, shared by all nodes, below which the trials' files go; None: each trial's own below Tune's
            `storage_path`. A trial leaves `policies/`, `scores/` and `trial.json` there, in a folder `omsweep`.
        work: what the processes do.

    Raises:
        ValueError: the space, its data or its families cannot be used, or a family's trial fits on no node. In a trial:
            a configuration with an unknown key, a value of another kind, or without a knob that the space draws.
        NoRoom: no nodes came within `train.wait_timeout`.
    """
    space = _loaded(space)
    guard()
    take(space.file.secrets, "the process that tunes")
    work = work.holding(space.file.secrets)
    check_own_data(space)
    capacity = _capacity(space)
    capacity.await_nodes()
    workers, train = capacity.workers, space.file.train
    ready = prepare_all(space, None, workers, Console(soft_wrap=True), work, every_row=True)
    group = Group(
        backend=train.backend,
        max_failures=train.max_failures,
        reuse=train.reuse_workers,
        session=work.session,
    )
    with_all = tune.with_parameters(
        OmsweepTrial,
        space=space,
        prepared={key: prepared for key, (prepared, _) in ready.items()},
        storage=None if storage is None else str(Path(storage).absolute()),
        group=group,
        workers=workers,
    )

    def own(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        """What a trial's own actor holds; a family that the space does not have is refused in the trial."""
        worker = workers.get(config.get("family", ""), next(iter(workers.values())))
        return tune.PlacementGroupFactory([worker.bundle() if train.backend == "inprocess" else BESIDE_WORKERS])

    return tune.with_resources(with_all, own)


def tuner(
    space: SearchSpace | Path | str,
    *,
    param_space: Mapping[str, Any] | None = None,
    tune_config: tune.TuneConfig | None = None,
    storage: Path | str | None = None,
    work: Work = REAL,
    **more: Any,
) -> tune.Tuner:
    """A `tune.Tuner` over what the space draws; metrics, searcher and scheduler are the caller's.

    Args:
        space: as in `trainable`.
        param_space: replaces samplers of the space, by the same names, or adds to them.
        tune_config: passed on; under `backend: train` with as many trials at a time as have room now, unless it says.
        storage: as in `trainable`.
        work: as in `trainable`.
        more: other arguments of `tune.Tuner`, `run_config` among them.
    """
    space = _loaded(space)
    made = trainable(space, storage=storage, work=work)
    config = tune_config or tune.TuneConfig()
    if space.file.train.backend == "train" and config.max_concurrent_trials is None:
        config = replace(config, max_concurrent_trials=_capacity(space).at_once())
    return tune.Tuner(made, param_space={**samplers(space), **(param_space or {})}, tune_config=config, **more)


def samplers(space: SearchSpace) -> dict[str, Any]:
    """Everything that the space draws, by its name in a configuration, as Tune's samplers."""
    drawn = {name: tune.choice(options) for name, options in _places(space).items() if len(options) > 1}
    knobs = (one for branch in space.branches for one in live_knobs(space, branch).values())
    return drawn | {path: _sampler(knob) for path, knob in knobs if not isinstance(knob, Fixed)}


class OmsweepTrial(Trial):
    """Trials, one after another in a group of workers that this actor has for itself; see `trainable`."""

    _group: Started | None = None
    _own: WorkerGroup | None = None
    _attempt: Attempt | None = None
    _raises: Exception | None = None

    def setup(
        self,
        config: dict[str, Any],
        *,
        space: Any = None,
        prepared: Any = None,
        storage: str | None = None,
        group: Any = None,
        workers: Any = None,
    ) -> None:
        """Take what all trials share; arguments as in `trainable`."""
        self._space, self._prepared, self._where, self._how, self._workers = space, prepared, storage, group, workers

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make room for another trial in the same actor."""
        self._leave()
        return True

    def step(self) -> dict[str, Any]:
        """The next row; RuntimeError after the last one of a trial that did not complete."""
        if self._raises is not None:
            raise self._raises
        if self._attempt is None:
            self._attempt = self._begun()
        row, outcome = self._attempt.row(), self._attempt.outcome
        if outcome is None:
            return row
        self._to.mkdir(parents=True, exist_ok=True)
        write_json(self._to / TRIAL_FILE, TrialRecord.of(self._spec, outcome).to_json())
        if outcome.state == "completed":
            return {**row, "done": True}
        self._raises = RuntimeError(f"{outcome.state}: {outcome.error}\n{outcome.traceback or ''}".strip())
        return row

    def cleanup(self) -> None:
        """End the trial where it is, and its workers."""
        self._leave()
        self._end_group()

    def _begun(self) -> Attempt:
        try:
            self._spec = spec_of(self._space, self.config, trial_id=self.trial_id)
            models = self._prepared[self._spec.family, self._spec.sft_seed or 0]
            check_prepared(self._spec, models)
        except SpaceError as error:
            raise ValueError(str(error)) from None  # which comes out of Tune's pickle again
        self._to = _folder(self._storage, self._where)
        before = last_place(self._to, self._spec.trial_id)
        attempt = 1 if before is None else before.attempt + 1
        group = self._group_for(self._workers[self._spec.family])
        return Attempt(self._spec, models, self._to, group, attempt=attempt)

    def _leave(self) -> None:
        """A trial that is given up in the middle takes its workers with it."""
        attempt, self._attempt, self._raises = self._attempt, None, None
        if attempt is not None and (attempt.outcome is None or attempt.outcome.state != "completed"):
            attempt.leave()
            self._end_group()

    def _group_for(self, worker: Worker) -> Any:
        """Who does the work of a trial: this process under `inprocess`."""
        if self._how.backend == "inprocess":
            self._own = self._own or WorkerGroup("", self._how, worker, "")
            return self._own
        if self._group is not None and (self._group.worker != worker or not self._how.reuse):
            self._end_group()
        if self._group is None:
            self._group = start(f"omsweep-{uuid.uuid4().hex[:8]}", self._how, worker, str(self._to / "ray"))
        return self._group.actor

    def _end_group(self) -> None:
        if self._group is not None:
            with suppress(ray.exceptions.RayError):
                ray.get(self._group.actor.end.remote(), timeout=END_SECONDS)
            self._group.kill()
        self._group = None


def spec_of(space: SearchSpace, config: Mapping[str, Any], *, trial_id: str) -> TrialSpec:
    """The trial that a configuration fixes, see `trainable`.

    Raises:
        SpaceError: naming the key, and what is allowed or missing.
    """
    given = {name: value.item() if isinstance(value, np.generic) else value for name, value in config.items()}
    _check_names(space, given)
    places = {name: _chosen(name, options, given) for name, options in _places(space).items()}
    missing = [name for name, value in places.items() if value is None]
    if missing:
        raise SpaceError("config", f"lacks {', '.join(missing)}, of which the space has several")
    branch = next(one for one in space.branches if one.label == places["method"])
    at = {name: places[name] for name in ("family", "sft_seed")}
    values, seed = _values(space, branch, given), _seed(space, places["sft_seed"], given)
    try:
        sample = make_sample(space, branch, values, trial_id=trial_id, block=None, seed=seed, **at)
        train_settings(space, sample)
    except (ValueError, TypeError) as error:
        raise SpaceError("config", str(error)) from None
    return trial_spec(space, sample)


def check_prepared(spec: TrialSpec, prepared: Prepared) -> None:
    """Refuse what the space names nowhere, so that nothing was prepared for it; raises SpaceError."""
    settings = train_settings_from(spec.train or {})
    ready = prepared.data.get(spec.data, {})
    if settings.algorithm not in ready:
        allowed = f"one that the space names for {spec.label}: {', '.join(ready)}"
        raise SpaceError("config.algorithm", f"must be {allowed}; got {settings.algorithm!r}")
    if settings.merge.resolved().needs_task_vector and spec.task_vector not in prepared.task_vectors:
        has = ", ".join(prepared.task_vectors) or "none"
        raise SpaceError(
            "config.task_vector", f"must be one that some method of the space merges: {has}; got {spec.task_vector!r}"
        )


def _loaded(space: SearchSpace | Path | str) -> SearchSpace:
    return space if isinstance(space, SearchSpace) else load_space(Path(space))


def _capacity(space: SearchSpace) -> Capacity:
    if not ray.is_initialized():
        ray.init()
    return Capacity(space, Console(soft_wrap=True).print)


def _places(space: SearchSpace) -> dict[str, list[Any]]:
    """What a trial is one of."""
    labels = [branch.label for branch in space.branches]
    return {"family": space.family_names, "sft_seed": list(space.design.sft_range), "method": labels}


def _sampler(knob: Knob) -> Any:
    match knob:
        case Choice(values):
            return tune.choice(list(values))
        case Interval(low, high, log):
            return tune.loguniform(low, high) if log else tune.uniform(low, high)
        case Integer(low, high):
            return tune.randint(low, high + 1)
    raise AssertionError(f"{knob!r} is not drawn")


def _check_names(space: SearchSpace, given: Mapping[str, Any]) -> None:
    """Whether every key names something of some method, whichever is drawn."""
    known = [*_places(space), "seed", *_bare(space)]
    for key in given:
        branch = next((one for one in space.branches if key.startswith(f"method.{one.label}.")), None)
        allowed = (
            known if branch is None else [f"method.{branch.label}.{name}" for name in allowed_knobs(branch.method)]
        )
        if key not in allowed:
            labels = ", ".join(one.label for one in space.branches)
            more = f", and method.LABEL.KNOB, LABEL one of {labels}" if branch is None else ""
            raise SpaceError(f"config.{key}", f"unknown key; allowed: {', '.join(allowed)}{more}")


def _bare(space: SearchSpace) -> list[str]:
    """The names of all knobs that some method here takes."""
    return list(dict.fromkeys(name for branch in space.branches for name in allowed_knobs(branch.method)))


def _chosen(name: str, options: list[Any], given: Mapping[str, Any]) -> Any:
    """What the configuration says, or the only option; None where there are several and it says nothing."""
    if name not in given:
        return options[0] if len(options) == 1 else None
    if given[name] not in options:
        raise SpaceError(f"config.{name}", f"must be one of {', '.join(map(str, options))}; got {given[name]!r}")
    return given[name]


def _seed(space: SearchSpace, sft_seed: int, given: Mapping[str, Any]) -> int:
    """The training seed: the configuration's, else the search's, or that of the design's first block."""
    searched = space.file.mode == "search"
    seed = given.get("seed", space.search.seed if searched else space.design.training_seed(sft_seed, 0, 0))
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise SpaceError("config.seed", f"must be a whole number from 0 on, got {seed!r}")
    return seed


def _values(space: SearchSpace, branch: Branch, given: Mapping[str, Any]) -> dict[str, Scalar]:
    """The knobs of a branch: the configuration's, then what the space fixes."""
    taken = _given_knobs(space, branch, given)
    if RIVALS.keys() <= taken.keys():
        raise SpaceError("config.alpha", "follows from tau_travel; give one of the two")
    left = {
        name: live for name, live in live_knobs(space, branch).items() if not {name, RIVALS.get(name)} & taken.keys()
    }
    missing = [path for path, knob in left.values() if not isinstance(knob, Fixed)]
    if missing:
        raise SpaceError("config", f"lacks {', '.join(missing)}, which the space draws: give them, or fix them there")
    return {name: knob.value for name, (_, knob) in left.items() if isinstance(knob, Fixed)} | taken


def _given_knobs(space: SearchSpace, branch: Branch, given: Mapping[str, Any]) -> dict[str, Scalar]:
    """What the configuration says of a branch's knobs: by the branch's own names before bare ones."""
    allowed = allowed_knobs(branch.method)
    for key in given:
        if key in _bare(space) and key not in allowed:
            raise SpaceError(
                f"config.{key}",
                f"method {branch.label} does not take it, but {', '.join(allowed)}; name it method.LABEL.{key} for the"
                " methods that do",
            )
    keys = {name: name for name in allowed} | {f"method.{branch.label}.{name}": name for name in allowed}
    return {name: _value(f"config.{key}", name, given[key]) for key, name in keys.items() if key in given}


def _value(path: str, name: str, raw: Any) -> Scalar:
    knob = parse_knob(raw, path)
    if not isinstance(knob, Fixed):
        raise SpaceError(path, f"must be a value, got {raw!r}: Tune draws, by tune.choice and others")
    check_kind(path, name, knob.value)
    return knob.value


def _folder(own: Any, storage: str | None) -> Path:
    """Where a trial's files go: in its own folder below Tune's storage, or below `storage`."""
    if storage is not None:
        return Path(storage) / own.experiment_dir_name / own.trial_dir_name / OWN_FOLDER
    if own.storage_filesystem.type_name != "local":
        raise ValueError(
            f"storage_path must be a folder for the policies of trials, got {own.storage_filesystem.type_name} storage:"
            " give trainable(space, storage=FOLDER), which all nodes share"
        )
    return Path(own.trial_fs_path) / OWN_FOLDER
