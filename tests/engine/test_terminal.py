"""Lines about trials, as the terminal of `omsweep run` shows them."""

import io

from rich.console import Console

from omsweep.engine.terminal import Terminal, trial_line
from omsweep.store.records import TrialRecord


def test_an_error_gives_the_terminal_no_orders():
    record = TrialRecord(trial_id="a", family="f", algorithm="dpo", state="failed", error="\x1b[2Jno [bold]good[/]")
    console = Console(file=io.StringIO(), width=120)
    console.print(trial_line(record, {}), highlight=False)
    with Terminal.bar(console, total=1, done=0) as terminal:
        terminal.tried_again("a", "hung", "\x1b[2Jsilent")
    said = console.file.getvalue()
    assert r"\u001b[2Jno [bold]good[/]" in said
    assert r"hung: \u001b[2Jsilent" in said
    assert "\x1b" not in said


def test_a_stopped_trial_says_where_and_with_what():
    record = TrialRecord(trial_id="a", family="f", algorithm="dpo", state="stopped", steps=25, reward=-0.5, tax=3.0)
    assert "after 25 steps: reward \u22120.500, tax +3.00 points" in trial_line(record, {})
