"""What `check` says about the comparison before anything is trained, and what it refuses."""

import json

import pytest
import yaml

from omsweep.commands.check.comparison import comparison_lines, comparison_notes
from omsweep.commands.check.load import load_checked as load_space
from omsweep.space.yaml_text import SpaceFileError

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
    "posthoc": {
        "path": {"method": "linear", "weights": [0.5], "of": ["adamw", "ondare"]},
        "shift": {"method": "tau_shift", "travel_of": "ondare", "of": ["adamw"]},
        "sparse": {"method": "dare", "weights": [0.5], "densities": [0.3, 0.7], "of": ["adamw"]},
    },
    "design": {"blocks": 1, "seeds": 2, "sft_seeds": 10, "ladder": [0.5, 1, 2, 4]},
    "comparison": {
        "contrasts": [["ondare", "adamw"], ["ondare + path", "adamw + path"], ["ondare", "adamw + shift"]],
        "tax_limit": 4,
    },
    "evaluate": {"report_split": "all"},
}


@pytest.fixture
def load(tmp_path):
    def loaded(*overrides, without=()):
        file = tmp_path / "space.yaml"
        file.write_text(yaml.safe_dump({k: v for k, v in SPACE.items() if k not in without}, sort_keys=False))
        return load_space(file, overrides)

    return loaded


def test_the_contrasts_are_listed_and_no_power_invented(load):
    space = load()
    assert comparison_lines(space) == [
        "comparison: area up to tax 4 over doses 0.5, 1, 2, 4, as a share of adamw's; verdicts over 3 contrasts,"
        " equivalent within 0.1",
        "  ondare - adamw",
        "  ondare + path - adamw + path",
        "  ondare - adamw + shift",
        "power: unknown: needs a pilot (report.pilot: the folder of a smaller sweep with other seeds)",
    ]
    assert comparison_notes(space) == []


def test_a_pilot_says_how_small_an_effect_can_be_seen(load, tmp_path):
    parts = {"sft_seed": None, "training_seed": 0.001, "item": 0.0001, "residual": 0.001}
    row = {"arm": "ondare", "against": "adamw", "family": "tiny-llama", "groups": 20, "components": parts}
    pilot = {
        "sweep": "before",
        "created": "2026-11-25T01:02:03+00:00",
        "tax_limit": 3.0,
        "evaluate": load().resolved()["evaluate"] | {"samples": 2},
        "blocks": {"tiny-llama": 3},
        "contrasts": [["ondare", "adamw"]],
        "variance": [row],
    }
    (tmp_path / "comparison.json").write_text(json.dumps(pilot))
    last = comparison_lines(load(f"report.pilot={tmp_path}"))[-1]
    start = "power: a difference of 0.1 is found with probability 1.00, and one of 0.0"
    assert last.startswith(start)
    assert "simulated from the variances of before (2026-11-25), pooled over 1 contrast" in last
    assert "one SFT seed" in last
    assert "it did not have tiny-qwen2, counted as the others" in last
    assert "its tax limit was 3" in last
    assert last.endswith("it differs in evaluate.samples")


def test_what_cannot_be_shown_is_a_note(load):
    (note,) = comparison_notes(load("design={seeds: 1, blocks: 1, ladder: [1, 2]}"))
    assert note.startswith("comparison: not shown: verdicts and intervals: one run of each arm in a family")
    (note,) = comparison_notes(load("space.method.ondare.learning_rate=1.0e-4"))
    assert note == "comparison: learning rates of ondare are their own: not the same ladder"
    (note,) = comparison_notes(load("design={seeds: 3, blocks: 1, ladder: [1, 2]}"))
    assert note.startswith("comparison: not shown: other SFT models")


def test_nothing_is_said_where_nothing_is_asked(load):
    space = load(without=["comparison"])
    assert (comparison_lines(space), comparison_notes(space)) == ([], [])


FIRST = "comparison.contrasts.0: "


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["comparison.tax_limit={tiny-llama: 4}"],
            "comparison.tax_limit: must name the sweep's families, tiny-llama, tiny-qwen2, got tiny-llama",
        ),
        (["comparison.tax_limit=0"], "comparison.tax_limit: must be greater than 0, got 0"),
        (["comparison.delta=1"], "comparison.delta: must be less than 1"),
        (["comparison.contrasts=[]"], "comparison.contrasts: "),
        (["comparison.contrasts=[[ondare]]"], FIRST),
        (["comparison.contrasts=[[ondare, adam]]"], f"{FIRST}unknown label 'adam'; allowed: adamw, ondare"),
        (
            ["comparison.contrasts=[[ondare, adamw], [adamw, ondare]]"],
            "comparison.contrasts.1: compares 'adamw' with 'ondare' again",
        ),
        (["comparison.contrasts=[[ondare, ondare]]"], f"{FIRST}compares 'ondare' with itself"),
        (
            ["comparison.contrasts=[[ondare, adamw + way]]"],
            f"{FIRST}'way' is no entry of posthoc that adamw gets; allowed: path, shift, sparse",
        ),
        (
            ["comparison.contrasts=[[shuffled + path, adamw]]"],
            f"{FIRST}'path' is no entry of posthoc that shuffled gets; there is none",
        ),
        (["comparison.contrasts=[[ondare, adamw + sparse]]"], f"{FIRST}sparse must be one way back"),
        (["comparison.contrasts=[[ondare, a + b + c]]"], f"{FIRST}must be a label of space.method, or LABEL + GRID"),
        (["comparison.baseline=sgd"], "comparison.baseline: unknown label 'sgd'"),
        (["space.method.ondare.task_vector={choice: [real, permuted]}"], f"{FIRST}ondare draws its task vector"),
        (["design.ladder=[]"], "design.ladder: must give the doses at which every arm is trained"),
        (["design.match=share"], "design.ladder: gives every method the same learning rates: design.match must be"),
        (["evaluate.report_split=front"], "evaluate.report_split: must be all"),
        (["objectives.tax=tax_worst"], "objectives.tax: must be tax for a comparison, got 'tax_worst'"),
        (["report.pilot=/nowhere"], "report.pilot: '/nowhere' has no comparison.json"),
        (["comparison=null", "report.pilot=x"], "report.pilot: says how small an effect a comparison can show"),
        (["mode=search", "search={trials: 9}", "design=null", "posthoc={}"], "comparison: compares arms with equal"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_refused(load, overrides, message):
    with pytest.raises(SpaceFileError) as refusal:
        load(*overrides)
    assert message in str(refusal.value)
