"""`omsweep watch`: what a sweep does, on a terminal and in plain lines; it ends with the sweep and touches nothing."""

import io
import itertools
import shutil
import time

import pytest
from rich.console import Console

from omsweep.cli import BAD_USAGE, INTERRUPTED, main
from omsweep.commands import watch
from omsweep.results.progress import Driver
from omsweep.store.lease import Lease, Owner
from tests.written_sweep import WrittenSweep

ELSEWHERE = Owner(host="far", machine="far", pid=3, start=1)
LONG = "tiny-llama-with-a-very-long-name-f0-b10-s10-ondare-released-x0.5"


def watching(folder, *options):
    return main(["watch", folder.name, "--storage", str(folder.storage), "--interval", "0.1", *options])


@pytest.fixture
def driven(folder, make_space, monkeypatch):
    """A sweep that a driver on another machine makes; what it does while the watcher waits is given by a test."""
    folder.path.mkdir(parents=True)
    monkeypatch.setattr(WrittenSweep, "create", _create)
    lease = Lease.take(folder.files, owner=ELSEWHERE)
    folder.lease = lease

    def act(*steps):
        given = iter(steps)
        monkeypatch.setattr(watch.time, "sleep", lambda seconds: next(given)())

    folder.act = act
    yield folder
    lease.release()


def _create(self, resolved):
    self.files.open_log()
    self.happened("created", name=self.name, resolved=resolved, versions={"omsweep": "0"}, git_revision=None)


def test_from_before_its_log_to_its_end(driven, make_space, make_trial, capsys):
    def begin():
        driven.create(make_space(families=["tiny-llama"], design={"blocks": 1}))
        driven.happened("driver", did="started")

    def start():
        driven.happened("proposed", "a", trial={"family": "tiny-llama", "label": "adamw", "params": {"steps": 50}})
        driven.happened("started", "a", attempt=1)

    def end():
        driven.append(make_trial("a", reward=0.5, tax=1.0))
        driven.happened("driver", did="stopped", closed="completed")
        driven.lease.release()

    driven.act(begin, start, end)
    assert watching(driven) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "demo: process 3 on far prepares its models and data; it has no trials yet"
    assert said[1] == "demo: running, by process 3 on far"
    lines = [line[21:] for line in said if line[4:5] == "-" and line[13:14] == ":"]
    assert lines == [
        "started    a",
        "completed  a, reward +0.50, tax +1.00, hypervolume of tiny-llama \u2013 -> 9.50",
        "driver     stopped: completed",
    ]
    assert "demo: completed" in said
    assert not any("\x1b" in line or "\r" in line for line in said)


@pytest.mark.parametrize("width", [80, 200])
def test_ids_are_whole_on_the_terminal(driven, make_space, make_trial, width):
    driven.create(make_space())
    driven.append(make_trial(LONG, reward=0.5, tax=1.0))
    driven.happened("proposed", f"{LONG}-2", trial={"family": "tiny-llama", "label": "adamw"})
    driven.happened("started", f"{LONG}-2", attempt=1)
    driven.happened("proposed", f"{LONG}-3", trial={"family": "tiny-llama", "label": "adamw"})
    driven.append(make_trial(f"{LONG}-4", state="failed", error="no good"))
    watched = watch.Watched(driven)
    watched.look()
    console = Console(file=io.StringIO(), width=width)
    for line in watch.screen(watched, width, 60):
        console.print(line)
    shown = console.file.getvalue()
    for name in (LONG, f"{LONG}-2", f"{LONG}-3", f"{LONG}-4"):
        assert name in shown
    assert max(map(len, shown.splitlines())) <= width
    assert len(watch.screen(watched, width, 20)) <= 20


def test_what_others_wrote_gives_a_terminal_no_orders(driven, make_space, make_trial, capsys):
    driven.create(make_space())
    driven.append(make_trial("a", label="\x1b[2J", state="failed", error="\x1b]0;x\x07\r\n[red]hm"))
    driven.happened("driver", did="stopped", closed="failed")
    driven.lease.release()
    assert watching(driven) == 1
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\x07" not in said
    assert "\r" not in said
    assert r"\u001b]0;x\u0007" in said
    assert "[red]hm" in said


def test_a_driver_that_goes_on_is_waited_for(driven, make_space, monkeypatch):
    driven.create(make_space())
    driven.happened("driver", did="stopped", closed="interrupted")
    driven.lease.release()
    later = Lease.take(driven.files, owner=ELSEWHERE)
    watched = watch.Watched(driven)
    watched.look()
    assert not watched.has_ended()
    assert str(watch.whole(watched, 80)[0]) == "demo: process 3 on far prepares its models and data, to go on with it"
    later.release()
    watched.look()
    assert watched.has_ended()


def test_a_sweep_whose_driver_is_gone_is_left_after_a_minute(demo, monkeypatch, capsys):
    clock = itertools.count(0.0, 10.0)
    monkeypatch.setattr(watch.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(watch.time, "sleep", lambda seconds: None)
    assert watching(demo) == 1
    assert "demo: its driver is gone; the same command goes on" in capsys.readouterr().out


def test_no_sweep_a_vanished_and_a_damaged_log(demo, capsys, monkeypatch):
    assert main(["watch", "none", "--storage", str(demo.storage)]) == BAD_USAGE
    assert "no sweep in" in capsys.readouterr().err
    text = demo.events_jsonl.read_bytes()

    def change(content):
        demo.events_jsonl.unlink()
        demo.events_jsonl.write_bytes(content)

    changed = text.replace(b"tiny-qwen2-b1", b"tiny-qwen3-b1", 1)
    monkeypatch.setattr(watch.time, "sleep", lambda seconds: change(changed))
    assert watching(demo) == BAD_USAGE
    assert "the log is damaged: line " in capsys.readouterr().err
    change(text)
    monkeypatch.setattr(watch.time, "sleep", lambda seconds: shutil.rmtree(demo.path))
    assert watching(demo) == BAD_USAGE
    assert "the log of sweep" in (said := capsys.readouterr().err)
    assert "has vanished" in said


def test_a_log_that_was_replaced_is_read_anew(driven, make_space, make_trial):
    driven.create(make_space())
    driven.append(make_trial("a"))
    watched = watch.Watched(driven)
    watched.look()
    kept = b"".join(driven.events_jsonl.read_bytes().splitlines(keepends=True)[:1])
    driven.files.rewrite(kept)
    watched.look()
    assert (watched.state.seq, len(watched.state.trials)) == (1, 0)


def test_ctrl_c_leaves_the_sweep_alone(driven, make_space, monkeypatch):
    driven.create(make_space())
    before = driven.events_jsonl.read_bytes()

    def press(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", press)
    assert watching(driven) == INTERRUPTED
    assert driven.events_jsonl.read_bytes() == before
    assert Driver.of(driven.files) == Driver(name="process 3 on far")


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "often"])
def test_a_bad_interval(demo, capsys, given):
    assert watching(demo, "--interval", given) == BAD_USAGE
    assert f"--interval must be seconds, at least 0.1, got '{given}'" in capsys.readouterr().err


def test_without_a_change_nothing_is_said_again(driven, make_space, capsys, monkeypatch):
    driven.create(make_space())
    console = Console()
    watched = watch.Watched(driven)
    with watch._plainly(console, watched) as frame:
        for _ in range(3):
            watched.look()
            frame()
        first = capsys.readouterr().out
        assert first.count("demo: ") == 1
        driven.happened("proposed", "a", trial={"family": "tiny-llama", "label": "adamw", "params": {"steps": 50}})
        driven.happened("started", "a", attempt=1)
        driven.happened("progress", "a", attempt=1, first_step=1, losses=[0.7])
        now = time.monotonic()
        monkeypatch.setattr(watch.time, "monotonic", lambda: now + watch.PLAIN_SECONDS)
        watched.look()
        frame()
        assert "a      training  1 of 50  0.700" in capsys.readouterr().out


def test_what_happened_in_lines(driven, make_space, make_trial):
    driven.create(make_space())
    watched = watch.Watched(driven)
    watched.look()
    driven.happened("prepared", family="tiny-llama", sft_seed=None, reference={}, models={})
    driven.happened("proposed", "a", trial={"family": "tiny-llama", "label": "adamw"})
    for attempt in (1, 2):
        driven.happened("started", "a", attempt=attempt)
        driven.happened("lost", "a", attempt=attempt, reason="hung", error="no sign of life")
    driven.happened("started", "a", attempt=3)
    scores = {"reward": 0.1, "tax": 0.2, "reward_noise": [], "tax_noise": []}
    driven.happened("rung", "a", attempt=3, level=0, step=25, decision="pause", why="not among the best", **scores)
    driven.happened("paused", "a", attempt=3)
    driven.happened("trained", "a", attempt=3, outcome={"state": "completed"})
    driven.append(make_trial("a", state="diverged", reward=None, tax=None, error="loss is not finite"))
    driven.happened("spent", said="the budget is used up", used={})
    driven.happened("changed", retry=["a"], why="")
    watched.look()
    assert [line[21:] for line in watched.news] == [
        "prepared   tiny-llama",
        "started    a",
        "lost       a, attempt 1 (hung): no sign of life",
        "started    a, attempt 2",
        "lost       a, attempt 2 (hung): no sign of life",
        "started    a, attempt 3",
        "rung 0     a: at step 25 reward +0.10, tax +0.20: pause (not among the best)",
        "paused     a",
        "trained    a",
        "diverged   a, loss is not finite",
        "spent      the budget is used up",
        "changed    the sweep was extended, or failed trials are tried again",
    ]
