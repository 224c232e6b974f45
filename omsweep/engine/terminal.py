"""What the terminal shows of a running sweep: a line per finished trial, and a bar."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from omsweep.console import Console
from omsweep.redaction import visible
from omsweep.results.numbers import fixed
from omsweep.store.records import Outcome, TrialRecord


class Terminal:
    """Says how trials end; `bar` makes one."""

    def __init__(self, console: Console, progress: Progress, total: int, done: int) -> None:
        self._console, self._progress = console, progress
        self._total = total
        self._task = progress.add_task("trials", total=total, completed=done)

    @classmethod
    @contextmanager
    def bar(cls, console: Console, *, total: int, done: int) -> Iterator["Terminal"]:
        """A terminal with a bar for so many trials."""
        columns = (TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            yield cls(console, progress, total, done)

    def expect(self, more: int) -> None:
        """Count `more` trials among those to come."""
        self._total += more
        self._progress.update(self._task, total=self._total)

    def ended(self, record: TrialRecord, outcome: Outcome) -> None:
        """A line about a trial that ended."""
        self._console.print(trial_line(record, outcome.preflight), highlight=False)
        self._progress.update(self._task, advance=1)

    def tried_again(self, trial_id: str, reason: str, error: str) -> None:
        """A line about an attempt that was lost."""
        said = escape(f"{reason}: {visible(error)}")
        self._console.print(f"[yellow]again[/]     {escape(trial_id):<34} {said}", highlight=False)


def trial_line(record: TrialRecord, preflight: Mapping[str, float | None]) -> str:
    """One line of terminal text (rich markup) about a finished trial."""
    again = f"  a replicate, seed {record.seed}" if record.params.get("proposal") == "replicate" else ""
    if record.state == "completed" and record.reward is not None and record.tax is not None:
        took = sum(v for v in record.seconds.values() if v is not None)
        numbers = f"reward [bold]{record.reward:+.3f}[/] ±{1.96 * (record.reward_se_items or 0):.3f}  "
        numbers += f"tax [bold]{record.tax:+.2f}[/] ±{1.96 * (record.tax_se_items or 0):.2f} points"
        share = preflight.get("truncated_share")
        numbers += f"  {took:.0f} s" + (f"  [yellow]{share:.1%} of examples truncated[/]" if share else "")
        return f"[green]done[/]      {escape(record.trial_id):<34} {record.algorithm:<4} {numbers}{again}"
    if record.state == "stopped":
        reward, tax = fixed(record.reward, 3, signed=True), fixed(record.tax, signed=True)
        said = f"after {record.steps} steps: reward {reward}, tax {tax} points on the rung's items"
        return f"[yellow]stopped[/]   {escape(record.trial_id):<34} {record.algorithm:<4} {said}"
    said = escape(visible(record.error or ""))
    return f"[red]{record.state:<9}[/] {escape(record.trial_id):<34} {record.algorithm:<4} {said}"
