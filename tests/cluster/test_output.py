"""What workers print, as the terminal of `omsweep run` shows it: no Ray names, no line twice, errors whole."""

import io
import json

import pytest
from ray._private.ray_logging import global_worker_stdstream_dispatcher as dispatcher
from rich.console import Console

from omsweep.cluster.output import WorkerOutput

TRACEBACK = ["Traceback (most recent call last):", '  File "a.py", line 1', "ValueError: no good"]


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200, soft_wrap=True)


def batch(*lines, pid=7, is_err=False, **more):
    return {"pid": pid, "ip": "1", "lines": list(lines), "is_err": is_err, "job": "01", **more}


def shown(console):
    return console.file.getvalue().splitlines()


def test_a_line_has_no_prefix_and_a_family(console):
    WorkerOutput(console)(batch("tiny llama SFT: 87/750, about 469 s left", task_name="prepare tiny-llama 11"))
    assert shown(console) == ["  tiny-llama 11: tiny llama SFT: 87/750, about 469 s left"]


def test_a_note_of_many_workers_is_said_once(console):
    output = WorkerOutput(console)
    for pid in range(4):
        output(batch("the same note", pid=pid, actor_name=f"m-{pid}"))
    assert shown(console) == ["  the same note"]


@pytest.mark.parametrize(
    "line",
    [
        "Loading weights: 100%|##########| 21/21 [00:00<00:00]",
        "  ",
        "[mutex.cc : 452] RAW: Lock blocking 0x55",
        "*** SIGABRT received at time=1 on cpu 1 ***",
        "    @     0x7f5efa05a050       9104  (unknown)",
        "[2026-11-30 03:19:16,433 E 13966 14144] logging.cc:474: PC: @ 0x7f",
    ],
)
def test_noise_is_not_shown(console, line):
    WorkerOutput(console)(batch(line, is_err=True))
    assert shown(console) == []


def test_errors_are_shown_each_time_with_who_had_them(console):
    output = WorkerOutput(console)
    for pid in (1, 2):
        output(batch(*TRACEBACK, pid=pid, is_err=True, actor_name="m-1-workers-0"))
    assert len(shown(console)) == 6
    assert shown(console)[0] == "  m-1-workers-0: Traceback (most recent call last):"
    assert shown(console)[5].endswith("ValueError: no good")
    output(batch("Fatal Python error: Aborted", is_err=True, task_name="prepare tiny-llama 0"))
    assert shown(console)[6] == "  tiny-llama 0: Fatal Python error: Aborted"


def test_orders_to_the_terminal_and_markup_are_text(console):
    WorkerOutput(console)(batch("\x1b[31mred\x1b[0m \x1b]0;title\x07 [bold]x[/]"))
    assert shown(console) == [r"  red \u001b]0;title\u0007 [bold]x[/]"]


def test_rays_own_lines_stay_rays(console):
    kept = []
    WorkerOutput(console, kept.append)(batch(":event_summary:Adding 1 node", pid="autoscaler"))
    assert [one["pid"] for one in kept] == ["autoscaler"]


def test_bars_of_workers_are_drawn_where_there_is_a_terminal():
    state = {"__magic_token__": "__ray_tqdm_magic_token__", "desc": "tiny llama SFT", "total": 750, "uuid": "u"}
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    output = WorkerOutput(console)
    with output.bars():
        for x, closed in ((87, False), (750, True)):
            output(batch(json.dumps(state | {"x": x, "closed": closed}), task_name="prepare tiny-llama 11"))
    assert "tiny-llama 11: tiny llama SFT" in console.file.getvalue()
    output(batch(json.dumps(state | {"x": 1, "closed": False})))
    output(batch("{ __ray_tqdm_magic_token__ torn"))


def test_what_ray_would_print_is_put_back(console):
    before = list(dispatcher.handlers)
    with WorkerOutput.shown(console) as output:
        assert dispatcher.handlers == [("omsweep", output)]
    assert dispatcher.handlers == before
