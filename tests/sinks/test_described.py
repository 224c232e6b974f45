"""Names, descriptions and ready-made views: what they say, and that no text of a user becomes markup."""

import base64
import json
import zlib

import pytest

from omsweep.sinks.described import placed, run_name, sweep_note, trial_note
from omsweep.sinks.fields import escaped
from omsweep.sinks.views import trials_filter, view_tag
from omsweep.store.state import TrialState, fold
from tests.sinks.story import created, ended, numbered, proposed, started


@pytest.mark.parametrize(
    ("trial_id", "label", "algorithm", "expected"),
    [
        ("tiny-llama-b2-s1-ondare", "ondare", "dpo", "ondare-dpo b2s1 tiny-llama"),
        ("tiny-llama-007-ondare", "ondare", "dpo", "ondare-dpo 007 tiny-llama"),
        ("tiny-llama-f0-b2-s1-adamw-x0.5", "adamw", "ipo", "adamw-ipo f0b2s1x0.5 tiny-llama"),
        ("tiny-llama-b2-s1-onties-released", "onties-released", "dpo", "onties…-dpo b2s1 tiny-llama onties-released"),
        ("tiny-llama-b2-s1-ondare+ties-3", "ondare+ties", "dpo", "ondare…-dpo b2s13 tiny-llama ondare+ties"),
        ("odd", "adamw", "dpo", "adamw-dpo odd tiny-llama"),
        ("t0", None, None, "t0"),
    ],
)
def test_a_runs_name_begins_with_its_recipe_and_place(trial_id, label, algorithm, expected):
    fields = {"trial_id": trial_id, "family": "tiny-llama", "label": label, "algorithm": algorithm}
    assert run_name(TrialState(fields=fields, proposed=1)) == expected


def test_names_are_told_apart_within_a_sweep():
    labels = ("onties", "onties-released", "onties-relaxed", "ondare+ties")
    places = [f"b{block}-s{seed}" for block in (0, 1, 11) for seed in (0, 1, 10)]
    named = {
        run_name(TrialState(fields={"trial_id": f"{f}-{p}-{label}", "family": f, "label": label}, proposed=1))
        for f in ("tiny", "tiny-two")
        for p in places
        for label in labels
    }
    assert len(named) == 2 * len(places) * len(labels)


def test_a_users_text_is_no_markup():
    text = "<script>x</script> [a](javascript:b) `c` *d* {folder} | \n# http://me:hunter2@host/"
    shown = escaped(text)
    assert "<" not in shown
    assert "\n" not in shown
    assert "hunter2" not in shown
    assert "](" not in shown
    assert r"\{folder\}" in shown
    assert placed(shown, experiment="1", sweep_run="r", folder="/f") == shown


def test_descriptions_link_to_the_view_and_show_the_front():
    trial = proposed("a", beta=0.1)
    trial[2]["trial"] |= {"label": "a|<b>", "algorithm": "dpo"}
    space = {"families": ["f"], "space": {"beta": {"choice": [0.1, 0.2]}, "method": {}}}
    state = fold(numbered(created(**space), trial, started("a"), ended("a", reward_se_items=0.1)))
    note = placed(sweep_note(state), experiment="7", sweep_run="abc", folder="/r/s")
    link = "#/experiments/7/runs?workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey=omsweep-5eed"
    assert f"({link})" in note
    assert "(#/experiments/7/runs/abc/artifacts/front.html?workflowType=machine_learning)" in note
    assert r"| \+0.50 ± 0.20 | \+1.50 | a\|&lt;b\>\-dpo | a\|&lt;b\> | 0.1 |" in note
    own = placed(trial_note(state, state.trials["a"]), experiment="7", sweep_run="abc", folder="/r/s")
    assert link in own
    assert "completed: reward +0.50 ± 0.20, tax +1.50." in own


def test_the_view_is_what_mlflows_page_reads():
    space = {"families": ["f", "g"], "space": {"beta": {"choice": [0.1, 0.2]}, "learning_rate": 0.1, "method": {}}}
    state = fold(numbered(created(**space, objectives={"tax": "tax_worst"})))
    view = json.loads(view_tag(state))
    assert (view["name"], view["createdAt"]) == ("s: reward and tax", view["updatedAt"])
    kind, packed = view["state"].split(";")
    assert kind == "deflate"
    page = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert page["searchFilter"] == trials_filter("s") == "tags.sweep = 's' AND tags.`omsweep.run` = 'trial'"
    scatter, report, parallel = page["compareRunCharts"]
    assert (scatter["xaxis"]["key"], scatter["yaxis"]["key"]) == ("tax_worst", "reward")
    assert (report["xaxis"]["key"], report["yaxis"]["key"]) == ("tax_worst_report", "reward_report")
    assert parallel["selectedParams"] == ["family", "label", "beta"]
    assert {"tags.`front`", "params.`beta`", "metrics.`tax_worst`"} <= set(page["selectedColumns"])
    assert {one["metricSectionId"] for one in page["compareRunCharts"]} == {page["compareRunSections"][0]["uuid"]}
    assert len(view_tag(state)) < 5000  # what older databases of MLflow take
