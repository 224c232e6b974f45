"""`omsweep watch`: what a sweep does, read from its log while a driver writes it, here or elsewhere."""

import argparse
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from omsweep.cluster.storage import storage_path
from omsweep.commands import DEFAULT_STORAGE, DONE, FAILED
from omsweep.console import Console
from omsweep.report import captions
from omsweep.report.tables import drawn, failures, how_far, line, member_table, now, print_status
from omsweep.report.text_table import terminal
from omsweep.results.numbers import counted, fixed
from omsweep.results.progress import Driver, Progress, prepares, progress_of
from omsweep.results.running import Front, fronts
from omsweep.store.events import Event
from omsweep.store.folder import SweepFolder
from omsweep.store.lease import SILENT_SECONDS
from omsweep.store.log import LogReader
from omsweep.store.state import SweepState, apply

LEAST_SECONDS = 0.1
PLAIN_SECONDS = 60.0
"""Without a terminal, how often it is said how far running trials are."""
GONE_SECONDS = SILENT_SECONDS
"""How long another driver may take to go on where one is gone."""
NEWS = 6
DRAWING = 60, 14
"""Columns and rows of a front."""


def execute(options: argparse.Namespace) -> int:
    """Show a sweep until it is closed, then print its state; 1 where it did not complete."""
    interval = _seconds(options.interval)
    console = Console(highlight=False)
    watched = Watched(SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.name))
    show = _plainly if options.plain or not console.is_terminal else _live
    with show(console, watched) as frame:
        while True:
            watched.look()
            frame()
            if watched.has_ended():
                break
            time.sleep(interval)
    if watched.state.created:
        print_status(watched.folder, console)
    return DONE if watched.state.closed == "completed" else FAILED


def _seconds(given: str) -> float:
    try:
        interval = float(given)
    except ValueError:
        interval = math.nan
    if not LEAST_SECONDS <= interval < math.inf:
        raise ValueError(f"--interval must be seconds, at least {LEAST_SECONDS:g}, got {given!r}")
    return interval


class Watched:
    """A sweep as its log says it, brought forward event by event.

    Args:
        folder: of the sweep.

    Attributes:
        state: what its log adds up to.
        news: what happened last, in lines.
        said: how many lines there have been.
        driver: who holds it.
    """

    def __init__(self, folder: SweepFolder) -> None:
        self.folder = folder
        self.news: deque[str] = deque(maxlen=1000)
        self.driver: Driver | None = None
        self.said = 0
        self._gone: float | None = None
        self._anew()

    def _anew(self, log: int | None = None) -> None:
        self._reader, self._log, self.state = LogReader(self.folder.files), log, SweepState()

    def look(self) -> None:
        """Read what is new.

        Raises:
            FileNotFoundError: there is no such sweep, or its log has vanished.
            DamagedLog: its log is damaged.
        """
        self.driver = Driver.of(self.folder.files)
        file = self._file()
        if file is None and self.state.created:
            raise FileNotFoundError(f"the log of sweep {self.folder.path} has vanished")
        if file is None and self.folder.sweep_json.is_file():  # from before the log
            self.state = self.folder.state()
        elif file is None and self.driver is None:
            raise FileNotFoundError(f"no sweep in {self.folder.path}: nobody makes one there")
        if file is not None and file != self._log:
            self._anew(file)  # it was cut or repaired
        first = self.state.seq == 0
        for event in self._reader.new():
            before, self.state = self.state, apply(self.state, event)
            news = None if first else said(event, before, self.state)
            if news is not None:
                self.news.append(f"{_when(event.time)}  {news}")
                self.said += 1

    def _file(self) -> int | None:
        try:
            return self.folder.events_jsonl.stat().st_ino
        except FileNotFoundError:
            return None

    @property
    def prepares(self) -> bool:
        """Whether a driver holds the sweep that has not begun yet."""
        return prepares(self.state, self.driver)

    def has_ended(self) -> bool:
        """Whether nothing more is to be seen: the sweep was closed, or its driver is gone and none follows."""
        if self.prepares or not self.state.created:
            return False
        if self.state.closed is not None or self.state.epoch == 0:
            return True
        if self.driver is not None and not self.driver.silent:
            self._gone = None
        elif self._gone is None:
            self._gone = time.monotonic()
        return self._gone is not None and time.monotonic() - self._gone >= GONE_SECONDS

    def progress(self) -> Progress:
        """How far it is now."""
        return progress_of(self.state, self.driver, now=time.time())


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")


def head(watched: Watched, progress: Progress | None) -> list[Text]:
    """Which sweep it is, how far, and who runs it."""
    name = watched.folder.name
    if progress is None:
        who = "a driver" if watched.driver is None else watched.driver.name
        return [line(f"{name}: {who} prepares its models and data; it has no trials yet", "bold")]
    standing = captions.standing(progress)
    if watched.prepares and watched.driver is not None:
        known = {str(one["family"]) for one in watched.state.prepared.values()}
        standing = (
            f"{watched.driver.name} prepares {', '.join(sorted(known)) or 'its models and data'}, to go on with it"
        )
    return [line(f"{name}: {standing}", "bold"), *map(line, how_far(progress))]


def whole(watched: Watched, width: int) -> list[Text]:
    """All there is to show; no line is folded."""
    if not watched.state.created:
        return head(watched, None)
    progress = watched.progress()
    lines = [*head(watched, progress), *now(progress, width)]
    for front in fronts(watched.state):
        lines += [Text(""), *front_lines(front, width)]
    return [*lines, *failures(progress.failures)]


def screen(watched: Watched, width: int, height: int) -> list[Text]:
    """As much of it as a terminal has room for: what runs, fronts, what failed and what happened last."""
    if not watched.state.created:
        return head(watched, None)
    progress, found = watched.progress(), fronts(watched.state)
    failed = failures(progress.failures[-3:])
    more = len(progress.failures) - len(failed)
    failed += [line(f"and {counted(more, 'more failure')}", "red")] if more else []
    last = [line(news.partition(" ")[2], "dim") for news in list(watched.news)[-NEWS:]]
    lines = [*head(watched, progress), Text(""), *now(progress, width, most=max(3, height // 5))]
    room = (height - len(lines) - len(failed) - len(last) - 1) // max(1, len(found))
    for front in found:
        lines += [Text(""), *front_lines(front, width, room - 1)]
    return [*lines, *failed, *([Text("")] if last else []), *last][:height]


def front_lines(front: Front, width: int, room: int | None = None) -> list[Text]:
    """A front drawn, where there is room enough, and its members, as many as there is room for."""
    count, most, rows = len(front.members), None, DRAWING[1]
    if room is not None:  # a drawing of six rows, then members, up to a third, then a larger drawing
        most = max(0, min(count if count <= room - 8 else room - 9, room // 3))
        rows = min(rows, room - 1 - (most + 1 + (most < count) if most else 0))
    drawing = drawn(front, min(width, DRAWING[0]), rows) if rows >= 6 and front.members else []
    title, *table = terminal(member_table(front, most), width)
    return [title, *drawing, *(table if front.members and most != 0 else [])]


Show = Callable[[], None]


@contextmanager
def _live(console: Console, watched: Watched) -> Iterator[Show]:
    """On the terminal's other screen, drawn anew at each look."""
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def frame() -> None:
            width, height = console.size
            live.update(Group(*screen(watched, width, height)), refresh=True)

        yield frame


@contextmanager
def _plainly(console: Console, watched: Watched) -> Iterator[Show]:
    """One block, then a line for each change, and about every minute one for each trial at work."""
    plain = Console(file=console.file, width=console.width, color_system=None, force_terminal=False, highlight=False)
    last: dict[str, Any] = {"title": None, "said": 0, "seq": 0, "time": -math.inf}

    def frame() -> None:
        seq, fresh = watched.state.seq, watched.said - last["said"]
        title = head(watched, watched.progress() if watched.state.created else None)[0]
        time_is_up = time.monotonic() - last["time"] >= PLAIN_SECONDS
        if seq and not last["seq"]:
            lines = whole(watched, plain.width)
        else:
            lines = [title] if title != last["title"] else []
            lines += [line(news) for news in list(watched.news)[-fresh:]] if fresh else []
            lines += now(watched.progress(), plain.width) if time_is_up and seq > last["seq"] else []
        for one in lines:
            plain.print(one, soft_wrap=True)
        last.update(title=title, said=watched.said, seq=seq, time=time.monotonic() if lines else last["time"])

    yield frame


def said(event: Event, before: SweepState, after: SweepState) -> str | None:
    """An event in one line; None of one that changes nothing that is shown."""
    say = SAID.get(event.kind)
    unknown = event.trial_id is not None and event.trial_id not in after.trials  # its proposal was damaged and left out
    return None if say is None or unknown else say(event, before, after)


def _started(event: Event, before: SweepState, after: SweepState) -> str:
    attempt = f", attempt {event.attempt}" if (event.attempt or 1) > 1 else ""
    return f"started    {event.trial_id}{attempt}"


def _rung(event: Event, before: SweepState, after: SweepState) -> str:
    rung = next(one for one in after.trials[str(event.trial_id)].rungs if one.level == event.data["level"])
    scores = f"reward {fixed(rung.reward, signed=True)}, tax {fixed(rung.tax, signed=True)}"
    why = f" ({rung.why})" if rung.why else ""
    return f"rung {rung.level}     {event.trial_id}: at step {rung.step} {scores}: {rung.decision}{why}"


def _lost(event: Event, before: SweepState, after: SweepState) -> str:
    return f"lost       {event.trial_id}, attempt {event.attempt} ({event.data['reason']}): {event.data['error']}"


def _ended(event: Event, before: SweepState, after: SweepState) -> str:
    trial_id, outcome = str(event.trial_id), event.data["outcome"]
    family = str(after.trials[trial_id].fields["family"])
    parts = [f"{outcome['state']:<10} {trial_id}"]
    reward, tax = (outcome.get(name) for name in ("reward", "tax"))
    parts += [] if reward is None else [f"reward {fixed(reward, signed=True)}, tax {fixed(tax, signed=True)}"]
    parts += [outcome["error"]] if outcome.get("error") else []
    old, new = (fixed(state.hypervolumes().get(family)) for state in (before, after))
    parts += [f"hypervolume of {family} {old} -> {new}"] if old != new and reward is not None else []
    return ", ".join(parts)


def _driver(event: Event, before: SweepState, after: SweepState) -> str:
    closed = event.data.get("closed")
    return f"driver     {event.data.get('did')}" + (f": {closed}" if closed else "")


SAID: Mapping[str, Callable[[Event, SweepState, SweepState], str]] = {
    "created": lambda event, before, after: "created    the sweep",
    "changed": lambda event, before, after: "changed    the sweep was extended, or failed trials are tried again",
    "driver": _driver,
    "prepared": lambda event, before, after: f"prepared   {event.data['family']}",
    "started": _started,
    "rung": _rung,
    "paused": lambda event, before, after: f"paused     {event.trial_id}",
    "trained": lambda event, before, after: f"trained    {event.trial_id}",
    "lost": _lost,
    "ended": _ended,
    "scored": lambda event, before, after: f"rescored   {event.trial_id} on the {event.data['split']} split",
    "spent": lambda event, before, after: f"spent      {event.data['said']}",
}
"""By kind of event."""
