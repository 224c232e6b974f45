"""A small sweep's log in memory, with all that can happen to a trial."""

from collections.abc import Callable, Sequence
from typing import Any

from omsweep.store.events import Event, encode

SCORES = {"reward": 0.5, "tax": 1.5, "scores": {"math": 0.75}}
BEGIN = 1_764_460_800.0


class MemoryStorage:
    """What a sink needs of a sweep's storage; `around` may raise before a file is written or after it was."""

    def __init__(self, events: Sequence[Event] = ()) -> None:
        self.files: dict[str, bytes] = {}
        self.around: Callable[[str, Callable[[], Any]], Any] = lambda name, call: call()
        self.show(events)

    def show(self, events: Sequence[Event]) -> None:
        self.log = b"".join(map(encode, events))

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def write(self, name: str, content: bytes) -> None:
        self.around("write", lambda: self.files.update({name: content}))

    def events_from(self, position: int) -> tuple[bytes, int]:
        return self.log[position:], len(self.log)


def numbered(*happened: tuple[str, str | None, dict[str, Any]], begin: float = BEGIN, epoch: int = 1) -> list[Event]:
    """Events a second apart; `attempt` is taken out of their data."""
    events = []
    for number, (kind, trial_id, data) in enumerate(happened, start=1):
        rest = {name: value for name, value in data.items() if name != "attempt"}
        events.append(Event(number, epoch, begin + number, kind, trial_id, data.get("attempt"), rest))
    return events


def created(**resolved: Any) -> tuple[str, None, dict[str, Any]]:
    return (
        "created",
        None,
        {"name": "s", "sweep_id": "5eed", "resolved": {"mode": "compare", **resolved}, "versions": {}},
    )


def proposed(trial_id: str, steps: int = 6, **params: Any) -> tuple[str, str, dict[str, Any]]:
    return (
        "proposed",
        trial_id,
        {"trial": {"family": "f", "params": {"beta": 0.1, **params}, "train": {"steps": steps}}},
    )


def started(trial_id: str, attempt: int = 1) -> tuple[str, str, dict[str, Any]]:
    return "started", trial_id, {"attempt": attempt}


def progress(trial_id: str, first_step: int, *losses: float | None) -> tuple[str, str, dict[str, Any]]:
    return "progress", trial_id, {"attempt": 1, "first_step": first_step, "losses": losses}


def ended(trial_id: str, state: str = "completed", **outcome: Any) -> tuple[str, str, dict[str, Any]]:
    return "ended", trial_id, {"outcome": {"state": state, **(SCORES if state == "completed" else {}), **outcome}}


def driver(**data: Any) -> tuple[str, None, dict[str, Any]]:
    return "driver", None, data


REFERENCE = ("prepared", None, {"family": "f", "reference": {"scores": {"math": 0.9}}, "models": {}})
STORY = numbered(
    created(seeds=1),
    driver(),
    REFERENCE,
    proposed("t0"),
    proposed("t1"),
    started("t0"),
    progress("t0", 1, 0.9, 0.8),
    started("t1"),
    progress("t1", 1, 0.7),
    progress("t0", 3, 0.6, None),
    progress("t1", 2, 0.6, 0.5),
    ("trained", "t0", {"outcome": {"state": "completed"}}),
    ended("t0"),
    ("lost", "t1", {"attempt": 1, "reason": "process lost", "error": "killed", "traceback": None}),
    started("t1", attempt=2),
    driver(closed="interrupted"),
    driver(),
    ("changed", None, {"resolved": {"mode": "compare", "seeds": 2}}),
    started("t1", attempt=3),
    progress("t1", 3, 0.5, 0.4),
    ended("t1", "failed", error="out of memory"),
    proposed("t2"),
    ended("t2", "failed", error="no worker"),
    ("changed", None, {"retry": ["t1", "t2"]}),
    started("t1", attempt=4),
    progress("t1", 5, 0.4, 0.3),
    ended("t1", reward=0.7),
    ("scored", "t0", {"split": "report", "numbers": {"reward": 0.4, "tax": 2.0}}),
    ("kind of a newer version", None, {}),
    driver(closed="completed"),
)
