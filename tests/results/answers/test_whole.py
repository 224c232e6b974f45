"""All answers of a sweep, from its log and tables."""

import json

import pytest

from omsweep.report.write import write_report
from omsweep.results.answers.whole import as_json, quick_answers, with_answers
from omsweep.results.front import INDEPENDENT, PAIRED
from omsweep.results.view import read_view, view_of
from omsweep.strict_json import plain


@pytest.fixture(scope="module")
def question(tmp_path_factory, fill_question):
    from tests.written_sweep import WrittenSweep

    folder = WrittenSweep(tmp_path_factory.mktemp("runs"), "question")
    return fill_question(folder, families=("tiny-llama",), blocks=1, sft_seeds=1)


def answered(folder):
    state = folder.state()
    return with_answers(folder, view_of(folder, state), state)


def test_paired_noise_makes_the_front_surer(question):
    before, after = read_view(question), answered(question)
    chances = [view.summary["families"]["tiny-llama"] for view in (before, after)]
    assert [one["front_probability_from"] for one in chances] == [INDEPENDENT, PAIRED]
    ids = chances[0]["front_probability"].keys()
    assert ids == chances[1]["front_probability"].keys()
    for member in after.summary["members"]:
        assert member["front_probability"] == chances[1]["front_probability"][member["trial_id"]]


def test_without_tables_the_standard_errors_count(demo):
    view = answered(demo)
    assert {one["front_probability_from"] for one in view.summary["families"].values()} == {INDEPENDENT}
    assert view.summary == read_view(demo).summary


def test_the_quick_answers_take_the_same_trials(question):
    quick, whole = quick_answers(read_view(question)), answered(question).answers
    assert [[pick.trial_id for pick in one.picks] for one in quick.choices] == [
        [pick.trial_id for pick in one.picks] for one in whole.choices
    ]


def test_they_are_strict_json(demo):
    content = plain(as_json(answered(demo)))
    json.dumps(content, allow_nan=False)
    assert content["chosen_on"] == "search"
    one = content["families"]["tiny-llama"]
    assert {"picks", "remarks", "gains", "importance", "health", "front_probability_from"} == set(one)
    assert one["importance"]["missing"].startswith("needs 30")
    assert "seeds" in one["health"]


def test_the_report_writes_them_beside_the_front(question):
    write_report(question)
    content = json.loads(question.answers_json.read_text())
    assert {"steps", "spans", "savings"} <= content.keys()
    front = json.loads(question.front_json.read_text())
    assert front["families"]["tiny-llama"]["front_probability_from"] == PAIRED


def test_before_anything_ended(folder, make_space):
    folder.create(make_space())
    view = answered(folder)
    assert (view.answers.choices, view.answers.health) == ([], [])
