"""One write to a run, as plain data: what it is told, and the mark of the event that it comes from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from omsweep.sinks.data_sets import DataSet
from omsweep.store.events import Event, encode


class Point(NamedTuple):
    """One value of a metric; `time` in ms."""

    key: str
    value: float
    time: int
    step: int


class Model(NamedTuple):
    """A member of the front as a LoggedModel.

    Attributes:
        trial_id: whose policy it is.
        name: as its run is called, without signs that MLflow refuses.
        params: of the model.
        policy: folder of the policy, None where it was not kept.
        weights: whether the policy is copied into the model.
        register: name of the registered model that it is a version of, None for none.
    """

    trial_id: str
    name: str
    params: Mapping[str, Any]
    policy: str | None
    weights: bool
    register: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What a run is told.

    Attributes:
        trial_id: whose run, None for the sweep's own.
        time: of the event, Unix time in ms.
        mark: of the event, see `mark_of`; the run carries that of the last event it was told.
        points, params, tags: to log; tags that are None are left out.
        status: the run's from now on: `RUNNING`, or one that ends it at `time`.
        files: whether the files of the sweep's folder are logged first.
        name: of the run where it is made now; None for the sweep's own name.
        note: its description, see `omsweep.sinks.described.placed`.
        data: data sets that the run reads.
        of_experiment: tags of the experiment.
        texts: artifacts by name.
        measured: whether the load of the driver's machine is logged while the run goes on.
        models: all members of the front as LoggedModels; None where nothing is said of them.
    """

    trial_id: str | None = None
    time: int
    mark: str
    points: tuple[Point, ...] = ()
    params: Mapping[str, Any] | None = None
    tags: Mapping[str, Any] | None = None
    status: str | None = None
    files: bool = False
    name: str | None = None
    note: str | None = None
    data: tuple[DataSet, ...] = ()
    of_experiment: Mapping[str, str] | None = None
    texts: Mapping[str, str] | None = None
    measured: bool = False
    models: tuple[Model, ...] | None = None


def mark_of(event: Event) -> str:
    """An event's number and checksum: no other log has it."""
    return f"{event.seq}-{encode(event)[-11:-3].decode()}"


def joined(writes: Iterable[Write]) -> list[Write]:
    """The same points in one write for each run."""
    by_run: dict[str | None, list[Write]] = {}
    for write in writes:
        by_run.setdefault(write.trial_id, []).append(write)
    return [replace(of[-1], points=tuple(point for one in of for point in one.points)) for of in by_run.values()]
