"""What a running trial writes for its driver, in files of the sweep's folder: its losses, and that it is alive."""

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from omsweep.strict_json import plain, read_json, write_json

SECONDS = 1.0
"""Losses are written at most so often."""
BEAT_SECONDS = 2.0


class Losses(NamedTuple):
    """Losses of steps in a row; None is one that is not finite."""

    first_step: int
    losses: list[float | None]


class ProgressWriter:
    """Takes every step of a trial and writes losses in lines of several; its file starts anew with each attempt.

    Args:
        file: to write.
        at: steps whose losses do not wait for those of more steps: something else than a step follows.
    """

    def __init__(self, file: Path, at: Collection[int] = ()) -> None:
        self._file, self._at = file, at
        self._waiting: list[float] = []
        self._first_step = 1
        self._written = time.monotonic()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")

    def __call__(self, step: int, metrics: Mapping[str, Any]) -> None:
        """A step's metrics, of which `loss` is kept."""
        if not self._waiting:
            self._first_step = step
        self._waiting.append(metrics["loss"])
        if step in self._at or time.monotonic() - self._written >= SECONDS:
            line = json.dumps({"first_step": self._first_step, "losses": plain(self._waiting)}) + "\n"
            with self._file.open("a") as file:
                file.write(line)
            self._waiting, self._written = [], time.monotonic()


def progress_file(folder: Path, trial_id: str) -> Path:
    """Where a trial of a sweep's folder writes its losses."""
    return folder / "work" / trial_id / "progress.jsonl"


@contextmanager
def repeated(act: Callable[[], None], seconds: float, *, name: str) -> Iterator[None]:
    """Inside, a thread of this name does something every so many seconds."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            act()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def alive(folder: Path, trial_id: str) -> Iterator[None]:
    """Inside, a thread writes another number into the trial's file every `BEAT_SECONDS`.

    A process that is stopped, or whose node is gone, writes none; one that computes for hours does.
    """
    numbers, file = itertools.count(), alive_file(folder, trial_id)

    def beat() -> None:
        with suppress(OSError):  # a full disk is the trial's to find
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{os.getpid()} {next(numbers)}")

    beat()
    with repeated(beat, BEAT_SECONDS, name="alive"):
        yield


class Place(NamedTuple):
    """Where an attempt runs: a Ray node's id, and a process there."""

    attempt: int
    node: str
    pid: int


def note_place(folder: Path, trial_id: str, place: Place) -> None:
    """Write down where an attempt runs, before it does anything; what a former attempt wrote of itself goes."""
    alive_file(folder, trial_id).unlink(missing_ok=True)
    file = _place_file(folder, trial_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, place._asdict())


def place_of(folder: Path, trial_id: str, attempt: int) -> Place | None:
    """Where an attempt runs; None before it has begun."""
    place = last_place(folder, trial_id)
    return place if place is not None and place.attempt == attempt else None


def last_place(folder: Path, trial_id: str) -> Place | None:
    """Where the last attempt that has begun runs or ran; None before the first."""
    file = _place_file(folder, trial_id)
    return Place(**read_json(file)) if file.is_file() else None


def _place_file(folder: Path, trial_id: str) -> Path:
    return folder / "work" / trial_id / "place.json"


def alive_file(folder: Path, trial_id: str) -> Path:
    """Where a trial of a sweep's folder writes that it is alive."""
    return folder / "work" / trial_id / "alive"


def read_losses(file: Path, position: int) -> tuple[list[Losses], int]:
    """Whole lines of a file from a position on, and the position after them; from its start where it is shorter."""
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(position if position <= size else 0)
            begun, text = opened.tell(), opened.read()
    except FileNotFoundError:
        return [], 0
    whole = text[: text.rfind(b"\n") + 1]
    return list(_parsed(whole)), begun + len(whole)


def _parsed(text: bytes) -> Iterator[Losses]:
    for line in text.splitlines():
        try:
            yield Losses(**json.loads(line))
        except (ValueError, TypeError):
            continue  # a file that starts anew under the reader's hands
