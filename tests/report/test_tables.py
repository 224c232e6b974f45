"""Tables for the terminal, as an 80-column terminal shows them."""

import io

import pytest
from rich.console import Console

from omsweep.report.draw_matplotlib import image
from omsweep.report.front_chart import front_sheet
from omsweep.report.page import page
from omsweep.report.tables import drawn, member_table, print_status
from omsweep.report.text_table import terminal
from omsweep.report.write import write_front
from omsweep.results.running import Front, Scored, fronts
from omsweep.results.view import read_view


def printed(folder, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    print_status(folder, console)
    return console.file.getvalue()


def test_the_demo(demo):
    text = printed(demo)
    assert "demo: its driver is gone; the same command goes on" in text
    assert "20 of 20 trials have ended, 0 waiting; 18 with both objectives" in text
    assert "Front of tiny-llama: " in text
    assert "Front of tiny-qwen2: " in text
    assert "exploratory, no ranking" in text
    assert "Hypervolume by method, tiny-llama: adamw" in text
    assert "failed: failed-1: RuntimeError: out of <memory> & time" in text
    assert "diverged: diverged-1: loss is not finite at step 12" in text
    assert "± 1.96 item standard errors; seeds differ by more" in text
    assert "…" not in text, "nothing is cut at 80 columns"


def test_members_and_only_members_are_in_the_fronts(demo):
    text = printed(demo, width=120)
    members = {member["trial_id"] for member in write_front(demo).summary["members"]}
    for trial in demo.trials():
        if trial.state == "completed":
            assert (f"\n{trial.trial_id} " in text) == (trial.trial_id in members)


def test_a_search_prints_no_hypervolume_per_method(folder, fill_sweep):
    text = printed(fill_sweep(folder, mode="search"))
    assert "Hypervolume, mean over families" in text
    assert "by method" not in text


def test_several_seeds_may_be_ranked(folder, fill_sweep):
    assert "no ranking" not in printed(fill_sweep(folder, seeds=2, failures=False))


def test_rescored_members_show_both_splits(demo):
    assert "rescored" not in printed(demo)
    member = write_front(demo).summary["members"][0]["trial_id"]
    demo.rescored(member, reward=0.123, tax=4.567)
    write_front(demo)
    assert "+0.12 / +4.57" in printed(demo, width=120)


@pytest.mark.parametrize("exists", [True, False])
def test_the_report_is_named_when_there_is_one(demo, exists):
    if exists:
        demo.report_html.write_text("x")
    assert (str(demo.report_html) in printed(demo, width=200)) == exists


def test_markup_in_names_is_text(folder, make_trial, make_space):
    folder.create(make_space())
    folder.append(make_trial("a", label="[red]x[/red]"))
    folder.append(make_trial("b", state="failed", error="[bold]\n  two lines " + "z" * 300))
    text = " ".join(printed(folder, width=120).split())
    assert "[red]x[/red]" in text
    assert "failed: b: [bold] two lines zzz" in text
    assert "zzz…" in text, "long messages are cut"


def test_before_the_first_trial(folder, make_space):
    folder.create(make_space())
    text = printed(folder)
    assert "0 of 18 trials have ended, 18 waiting; 0 with both objectives" in text
    assert "No trial has both objectives yet." in text


def test_an_empty_front_is_said_in_words(folder, make_trial, make_space):
    folder.create(make_space())
    folder.append(make_trial("worse", reward=-0.6, tax=5.0))
    said = "the front is empty: no trial has more reward or less tax than the SFT model"
    text = printed(folder, width=200)
    assert f"tiny-llama: {said}" in text
    assert "0 on a front" in text
    assert f"tiny-llama: {said}." in page(read_view(folder))
    assert image(front_sheet(read_view(folder)))


@pytest.mark.parametrize("width", [80, 200])
def test_ids_are_never_folded_or_cut(folder, make_trial, make_space, width):
    folder.create(make_space())
    names = [f"tiny-llama-f0-b{n}-s0-a-branch-with-a-long-name-released-x0.5+path-{n}" for n in range(3)]
    for n, name in enumerate(names[:2]):
        folder.append(make_trial(name, reward=0.5 + n, tax=1.0 + n))
    folder.append(make_trial(names[2], state="failed", error="z" * 300))
    lines = printed(folder, width).splitlines()
    assert all(any(name in line for line in lines) for name in names)


def test_a_front_is_drawn_within_its_room(demo):
    for front in fronts(demo.state()):
        lines = [str(line) for line in drawn(front, 60, 14)]
        assert (len(lines), max(map(len, lines)) <= 60) == (14, True)
        text = "\n".join(lines[:-2])
        assert text.count("*") == 1, "the SFT model"
        assert [letter for letter in "abcdefgh" if letter in text] == list("abcdefgh"[: len(front.members)])
        table = [str(line) for line in terminal(member_table(front), 80)]
        assert len(table) == 2 + len(front.members)


def test_trials_far_from_a_front_do_not_press_it_together():
    near = [Scored("near", 0.4, 2.0), Scored("far", -3.0, 60.0)]
    front = Front(family="f", hypervolume=1.0, members=[Scored("m", 0.5, 1.0)], others=near)
    lines = [str(line) for line in drawn(front, 60, 14)]
    assert "1 trial further off" in lines[-1]
    assert sum(line.count("·") for line in lines) == 1
    alone = drawn(Front(family="f", hypervolume=0.0, members=[], others=[]), 60, 14)
    assert sum(str(line).count("*") for line in alone[:-1]) == 1
