"""The answers on the page and in the terminal."""

import pytest

from omsweep.report.answers.take import beware, knobs, lines, taken
from omsweep.report.page import page
from omsweep.report.tables import print_answers
from omsweep.report.write import write_report
from omsweep.results.answers.whole import with_answers
from omsweep.results.view import read_view, view_of


@pytest.fixture
def answered(demo):
    state = demo.state()
    return with_answers(demo, view_of(demo, state), state)


def test_the_first_screen_says_what_to_take(answered):
    html = page(answered)
    assert html.index("What should I take?") < html.index('id="fronts"')
    for choice in answered.answers.choices:
        for pick in choice.picks:
            assert f"<code>omsweep export demo --trial {pick.trial_id} --output {pick.trial_id}</code>" in html
    assert "Not shown: needs 30 trained trials that have both objectives, tiny-llama has 9." in html
    assert "Settings with one seed" in html


def test_a_view_from_the_log_alone_has_no_checks_and_no_knobs(demo):
    view = read_view(demo)
    assert (beware(view), knobs(view)) == (None, None)
    assert [family["name"] for family in taken(view)["families"]] == ["tiny-llama", "tiny-qwen2"]


def test_nothing_scored_has_no_section(folder, make_space):
    folder.create(make_space())
    assert taken(read_view(folder)) is None
    assert lines(read_view(folder)) == []


def test_a_terminal_gets_a_few_lines(demo):
    said = lines(read_view(demo))
    assert said[0] == "What to take from tiny-llama (chosen on the search split):"
    assert sum(line.startswith("  Export it: omsweep export demo --trial ") for line in said) == 2
    assert any("(search split)" in line and "most reward" in line for line in said)
    assert len(said) < 24


def test_what_to_beware_of_is_printed_after_a_report(demo, capsys):
    print_answers(demo)
    assert capsys.readouterr().out == ""
    write_report(demo)
    print_answers(demo)
    assert "tiny-llama: Settings with one seed" in capsys.readouterr().out


def test_names_are_escaped(folder, make_trial, make_space):
    folder.create(make_space(families=["tiny-llama"]))
    folder.append(make_trial("a", label="<script>alert(1)</script>", reward=1.0, tax=0.5))
    assert "<script>alert(1)" not in page(read_view(folder))
