"""What worker processes print, as the person at the driver's terminal needs it."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ray._private.ray_logging import global_worker_stdstream_dispatcher as worker_lines
from ray.experimental.tqdm_ray import RAY_TQDM_MAGIC
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from omsweep.console import Console
from omsweep.redaction import visible

RAYS_OWN = ("autoscaler", "raylet")
"""Whose lines are Ray's: they say what becomes of nodes, and which process was killed for memory."""
PREPARING = ("prepare ", "reference ")
"""How tasks are named whose lines say for which family they are."""
NOISE = re.compile(
    r"\s*$"  # an empty line
    r"|.*\d+%\|"  # a library's own bar
    r"|\[mutex\.cc|\*\*\* SIG|PC: @|\s+@ +0x|\[.*logging\.cc:\d+[:\]]|Extension modules:"
)
"""Of a crash the line stays that says which; where the processor was is in the log files of Ray's session."""
MOST_KNOWN = 10_000


class WorkerOutput:
    """What worker processes print, on the driver's console: each line once, however many of them say it, without Ray's
    name and number of the process; what they write to stderr with the name of what they do.

    Ray's own lines stay as they are.

    Args:
        console: where it is said.
        others: takes what is Ray's, as Ray would have shown it.
    """

    def __init__(self, console: Console, others: Callable[[Mapping[str, Any]], None] = lambda data: None) -> None:
        self._console, self._others = console, others
        self._said: dict[str, None] = {}
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}

    @classmethod
    @contextmanager
    def shown(cls, console: Console) -> Iterator["WorkerOutput"]:
        """Shown instead of what Ray would print, while this process is connected."""
        before = list(worker_lines.handlers)

        def others(data: Mapping[str, Any]) -> None:
            for _, handle in before:
                handle(data)

        output = cls(console, others)
        worker_lines.handlers = [("omsweep", output)]
        try:
            yield output
        finally:
            worker_lines.handlers = before

    @contextmanager
    def bars(self) -> Iterator[None]:
        """Inside, bars that workers count on are drawn (`ray.experimental.tqdm_ray`), where there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as self._progress:
            yield
        self._progress, self._bars = None, {}

    def __call__(self, data: Mapping[str, Any]) -> None:
        """Show lines of one process, as Ray's log monitor hands them over."""
        if data.get("pid") in RAYS_OWN:
            self._others(data)
            return
        lines = [visible(line, lines=True) for line in data.get("lines", ())]
        for line in lines:
            if RAY_TQDM_MAGIC in line:
                self._count(line, _who(data))
        lines = [line for line in lines if RAY_TQDM_MAGIC not in line and not NOISE.match(line)]
        if not any(line.startswith("Traceback (") for line in lines):
            lines = [line for line in lines if self._is_new(line)]
        self._print(lines, data)

    def _print(self, lines: Sequence[str], data: Mapping[str, Any]) -> None:
        who, stderr = _who(data), bool(data.get("is_err"))
        name = f"{who}: " if who and (stderr or data.get("task_name", "").startswith(PREPARING)) else ""
        for place, line in enumerate(lines):
            self._console.print(
                f"  {name if place == 0 or not stderr else '  '}{line}",
                highlight=False,
                markup=False,
                style="yellow" if stderr else None,
            )

    def _is_new(self, line: str) -> bool:
        known = line in self._said
        self._said[line] = None
        if len(self._said) > MOST_KNOWN:
            self._said.pop(next(iter(self._said)))
        return not known

    def _count(self, line: str, who: str) -> None:
        try:
            bar = json.loads(line)
        except ValueError:
            return  # two that were written at once
        if self._progress is None:
            return
        name = bar["uuid"]
        if name not in self._bars and not bar["closed"]:
            self._bars[name] = self._progress.add_task(escape(f"  {who}: {bar['desc']}"), total=bar["total"])
        if name in self._bars:
            self._progress.update(self._bars[name], completed=bar["x"])
        if bar["closed"] and name in self._bars:
            self._progress.remove_task(self._bars.pop(name))


def _who(data: Mapping[str, Any]) -> str:
    """The family that a task prepares, else the name of the task or the actor; empty where Ray names neither."""
    name = data.get("task_name") or data.get("actor_name") or ""
    return visible(next((name.removeprefix(verb) for verb in PREPARING if name.startswith(verb)), name))
