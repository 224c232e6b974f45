"""A sweep's numbers on Ray's Prometheus endpoint, made of its log by a thread of the driver.

Ray exports a gauge only where it was set since its last export, so all are set again every few seconds. The totals are
gauges too, which never fall: Ray's counters can only be added to, and go on under a driver that has ended, so that the
next one's would count a sweep's beginning twice.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

import ray
from ray.util.metrics import Gauge

from omsweep.foreign import error_line
from omsweep.plan.attempts import AGAIN
from omsweep.plan.size import trained_count
from omsweep.results.progress import space_of
from omsweep.store.events import Event
from omsweep.store.log import LogReader
from omsweep.store.records import STATES
from omsweep.store.state import SweepState, TrialState, apply
from omsweep.store.storage import Storage
from omsweep.trial.progress import repeated

SECONDS = 2.0
"""Between two settings of all numbers; Ray exports every 10 s."""


PHASES = ("start", "pilot", "train", "evaluate")
"""Of a trained trial; an offline merge has `merge` and `evaluate`."""


class Metric(NamedTuple):
    """What Ray is told of a metric; its own prefix `ray_` comes before the name."""

    tags: tuple[str, ...]
    meaning: str


METRICS: Mapping[str, Metric] = {
    "omsweep_trials": Metric(("sweep", "state"), "Trials of a sweep by state, offline merges included"),
    "omsweep_hypervolume": Metric(("sweep", "family"), "Hypervolume of a family's front"),
    "omsweep_front_size": Metric(("sweep", "family"), "Trials on a family's front"),
    "omsweep_tokens_per_second": Metric(
        ("sweep", "family"), "Tokens trained per second in the last trial that was trained, all its workers together"
    ),
    "omsweep_phase_seconds_total": Metric(("sweep", "phase"), "Seconds that the trials which ended spent in a phase"),
    "omsweep_attempts_lost_total": Metric(("sweep", "reason"), "Attempts that ended without a result"),
}


class Point(NamedTuple):
    """The value of one series: a metric with its tags in the order of `METRICS`."""

    metric: str
    tags: tuple[str, ...]
    value: float


class Tally:
    """What the events of a log add up to as series; the cost of an event does not grow with the sweep."""

    def __init__(self) -> None:
        self._state = SweepState()
        self._planned = self._known = 0
        self._phases: Counter[str] = Counter()
        self._seconds: dict[str, float] = defaultdict(float)
        self._lost: Counter[str] = Counter()
        self._speeds: dict[str, float] = {}

    def add(self, event: Event) -> None:
        """Take the next event."""
        before, self._state = self._state, apply(self._state, event)
        if self._state.created is not before.created:
            space = space_of(self._state)
            self._planned = 0 if space is None else trained_count(space)  # 0 where this omsweep cannot read it
        changed = event.data.get("retry", ()) if event.trial_id is None else (event.trial_id,)
        for trial_id in changed:
            now = self._state.trials.get(trial_id)
            if now is not None:
                self._moved(before.trials.get(trial_id), now)

    def points(self) -> Iterator[Point]:
        """The series now; none before the sweep was created."""
        state = self._state
        if not state.created:
            return
        sweep = str(state.created.get("name", ""))
        running = self._phases["started"] + self._phases["trained"]
        waiting = self._phases["proposed"] + self._phases["paused"] + max(0, self._planned - self._known)
        trials = dict.fromkeys(STATES, 0) | dict(state.counts) | {"running": running, "waiting": waiting}
        fronts = {family: len(members) for family, members in state.fronts.items()}
        values: Mapping[str, Mapping[str, float]] = {
            "omsweep_trials": trials,
            "omsweep_hypervolume": state.hypervolumes(),
            "omsweep_front_size": fronts,
            "omsweep_tokens_per_second": self._speeds,
            "omsweep_phase_seconds_total": dict.fromkeys(PHASES, 0.0) | self._seconds,
            "omsweep_attempts_lost_total": dict.fromkeys(AGAIN, 0) | self._lost,
        }
        for metric, of_metric in values.items():
            for tag, value in of_metric.items():
                yield Point(metric, (sweep, tag), float(value))

    def _moved(self, before: TrialState | None, now: TrialState) -> None:
        if before is None:
            self._known += now.fields.get("kind", "trained") == "trained"
        else:
            self._phases[before.phase] -= 1
        self._phases[now.phase] += 1
        if before is not None and len(now.lost) > len(before.lost):
            self._lost[now.lost[-1].reason] += 1
        gave = now.outcome or now.trained or {}
        seconds = {phase: took for phase, took in (gave.get("seconds") or {}).items() if took is not None}
        if now.outcome is not None and (before is None or before.outcome is None):
            for phase, value in seconds.items():
                self._seconds[phase] += value
        moved = before is None or before.phase != now.phase
        tokens, took = gave.get("tokens"), seconds.get("train")
        if moved and tokens and took and now.attempt <= 1:  # a later attempt's seconds are not those of all its tokens
            self._speeds[str(now.fields["family"])] = tokens / took


@contextmanager
def shown(storage: Storage, warn: Callable[[str], None]) -> Iterator[None]:
    """Inside, Ray's Prometheus endpoint shows the sweep that a storage holds; nothing where there is no Ray.

    Args:
        storage: of the sweep; its log need not have begun.
        warn: is told, once, what went wrong: the sweep goes on without these numbers.
    """
    if not ray.is_initialized():
        yield
        return
    numbers = _Numbers(storage, warn)
    with repeated(numbers.set, SECONDS, name="metrics"):
        yield
    numbers.set()  # Ray exports them once more when the driver leaves it


class _Numbers:
    """Gauges of Ray that are set to what a log adds up to."""

    def __init__(self, storage: Storage, warn: Callable[[str], None]) -> None:
        self._reader, self._warn = LogReader(storage), warn
        self._tally = Tally()
        self._gauges: dict[str, Gauge] = {}
        self._broken = False

    def set(self) -> None:
        """Set all; raises nothing."""
        if self._broken:
            return
        try:
            with suppress(OSError):  # the storage is away: the driver says so
                for event in self._reader.new():
                    self._tally.add(event)
            for metric, tags, value in self._tally.points():
                names = METRICS[metric].tags
                if metric not in self._gauges:
                    self._gauges[metric] = Gauge(metric, METRICS[metric].meaning, names)
                self._gauges[metric].set(value, dict(zip(names, tags, strict=True)))
        except Exception as error:  # whatever it was, it is not the sweep's
            self._broken = True
            self._warn(f"Prometheus is told no more of this sweep: {error_line(error)}")
