"""What `check` says about the headline before anything is trained, and what it refuses."""

import json

import pytest
import yaml

from omsweep.commands.check.headline import headline_lines, headline_notes
from omsweep.commands.check.load import load_checked as load_space
from omsweep.space.parse import SpaceFileError

DARE = {"semantics": "equations", "tau_travel": 0.1, "density": 0.5}
SPACE = {
    "name": "question",
    "mode": "compare",
    "families": ["tiny-llama", "tiny-qwen2"],
    "space": {
        "algorithm": "dpo",
        "learning_rate": 5e-4,
        "beta": 0.1,
        "method": {"adamw": {}, "ondare": DARE, "shuffled": {"method": "ondare", **DARE, "task_vector": "permuted"}},
    },
    "posthoc": {"interpolate": {"method": "linear", "weights": [0.5]}},
    "design": {"blocks": 1, "seeds": 5, "sft_seeds": 3},
    "objectives": {"tax_limit": 4},
    "evaluate": {"report_split": "all"},
}


@pytest.fixture
def load(tmp_path):
    def loaded(*overrides, without=()):
        file = tmp_path / "space.yaml"
        file.write_text(yaml.safe_dump({k: v for k, v in SPACE.items() if k not in without}, sort_keys=False))
        return load_space(file, overrides)

    return loaded


def test_the_comparisons_are_listed_and_no_effect_invented(load):
    space = load()
    assert headline_lines(space) == [
        "headline: reward at tax <= 4",
        "  ondare - adamw",
        "  ondare - adamw + offline",
        "  ondare + offline - adamw + offline",
        "  ondare + offline - shuffled/permuted + offline",
        "smallest detectable effect: unknown: needs a pilot (report.pilot: the folder of a sweep of these arms)",
    ]
    assert headline_notes(space) == []


def test_a_pilot_says_how_small_an_effect_can_be_seen(load, tmp_path):
    parts = {"sft_seed": None, "training_seed": 0.001, "item": 0.0001, "residual": 0.001}
    row = {"arm": "ondare", "against": "adamw", "family": "tiny-llama", "groups": 20, "components": parts}
    pilot = {
        "sweep": "before",
        "created": "2026-11-25T01:02:03+00:00",
        "tax_limit": 3.0,
        "evaluate": load().resolved()["evaluate"] | {"samples": 2},
        "variance": [row],
    }
    (tmp_path / "comparison.json").write_text(json.dumps(pilot))
    lines = headline_lines(load(f"report.pilot={tmp_path}"))
    start, _, effect = lines[1].rpartition(" ")
    assert start == "  ondare - adamw: smallest detectable effect"
    assert 0 < float(effect) < 0.1
    assert lines[2] == "  ondare - adamw + offline: smallest detectable effect unknown: the pilot compared no such pair"
    assert "by the variances of before (2026-11-25)" in lines[-1]
    assert "one SFT seed" in lines[-1]
    assert "it did not have tiny-qwen2, counted as the others" in lines[-1]
    assert "its tax limit was 3" in lines[-1]
    assert lines[-1].endswith("it differs in evaluate.samples")


def test_what_cannot_be_shown_is_a_note(load):
    assert headline_notes(load("evaluate.report_split=front"))[0].startswith("headline: not shown: everything: ")
    assert headline_lines(load("evaluate.report_split=front")) == ["headline: reward at tax <= 4: nothing to compare"]
    (note,) = headline_notes(load("design={seeds: 1, blocks: 1}"))
    assert note.startswith("headline: not shown: verdicts and intervals: one run of each branch in a family")
    notes = headline_notes(load(without=["posthoc"]))
    assert [note.partition(" (")[2][:2] for note in notes] == ["b)", "d)"]


def test_nothing_is_said_where_nothing_is_asked(load):
    assert (headline_lines(load("objectives={}")), headline_notes(load("objectives={}"))) == ([], [])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["families=[tiny-llama, tiny-qwen2]", "objectives.tax_limit={tiny-llama: 4}"],
            "objectives.tax_limit: must name every family of the sweep, is missing tiny-qwen2",
        ),
        (
            ["objectives.tax_limit={tiny-llama: -1}"],
            "objectives.tax_limit.tiny-llama: must be greater than or equal to",
        ),
        (["objectives.tax_limit=-1"], "objectives.tax_limit: must be greater than or equal to 0, got -1"),
        (["objectives.tax=tax_worst"], "objectives.tax: must be tax where tax_limit is given, got 'tax_worst'"),
        (["objectives.reference_point={tax: -2}"], "objectives.reference_point: the SFT model (0, 0) must lie within"),
        (["objectives={}", "report.pilot=x"], "report.pilot: says how small an effect the headline can show"),
        (["objectives={}", "report.study=question"], "report.study: 'question' needs objectives.tax_limit"),
        (["report.pilot=/nowhere"], "report.pilot: '/nowhere' has no comparison.json"),
        (["mode=search", "search={trials: 9}", "design=null"], "objectives.tax_limit: compares arms with equal draws"),
    ],
)
def test_a_headline_that_cannot_be_asked_is_refused(load, overrides, message):
    with pytest.raises(SpaceFileError) as refusal:
        load(*overrides)
    assert message in str(refusal.value)
