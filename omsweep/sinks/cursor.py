"""How far a sink is with a sweep's log, kept in a small file beside the log."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from omsweep.sinks.run_write import mark_of
from omsweep.store.events import Event
from omsweep.store.state import SweepState
from omsweep.store.storage import Storage

FILE = "sinks/mlflow.json"


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """What MLflow was told.

    Attributes:
        tracking_uri: of MLflow, without secrets.
        experiment, experiment_id: there.
        seq: the last event up to which all was written, 0 before the first.
        ahead: mark of the last event of which a part may have been written; saved before it is.
        runs: by trial id, and under "" the sweep's own, run ids that the log does not have.
        front: the front that was told last, see `omsweep.sinks.front.front_digest`.
    """

    tracking_uri: str
    experiment: str
    experiment_id: str
    seq: int = 0
    ahead: str | None = None
    runs: Mapping[str, str] = field(default_factory=dict)
    front: str = ""

    @classmethod
    def read(cls, storage: Storage) -> Self | None:
        """The cursor of a sweep; None where there is none, or none of this version."""
        text = storage.read(FILE)
        try:
            return None if text is None else cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def same_store(self, other: Self) -> bool:
        """Whether both are of one experiment of one store."""
        return (self.tracking_uri, self.experiment_id) == (other.tracking_uri, other.experiment_id)

    def moved(self, seq: int, *, ahead: Event | None, runs: Mapping[str, str], front: str) -> Self:
        """The cursor once all up to `seq` is written, and before anything up to `ahead` is."""
        mark = self.ahead if ahead is None else mark_of(ahead)
        return replace(self, seq=seq, ahead=mark, runs=dict(runs), front=front)

    def write(self, storage: Storage) -> None:
        """Keep it; OSError where refused."""
        storage.write(FILE, json.dumps(asdict(self), indent=2).encode() + b"\n")


def experiment_of(storage: Storage, resolved: Mapping[str, Any]) -> str:
    """The experiment of a sweep: its project, without one where it was told before, or its search space's name."""
    former = Cursor.read(storage)
    return str(resolved.get("project") or (former.experiment if former else resolved["name"]))


def in_log(mark: str | None, events: Sequence[Event]) -> bool:
    """Whether a log, from its first event, has the event of a mark: not where it was cut before it, or repaired."""
    number = (mark or "").partition("-")[0]
    seq = int(number) if number.isdecimal() else 0
    return 0 < seq <= len(events) and mark_of(events[seq - 1]) == mark


def run_id_of(state: SweepState, trial_id: str | None) -> str | None:
    """The run that the log has for a trial, or with None for the sweep; None where it has none."""
    return state.run_id if trial_id is None else state.trials[trial_id].run_id
