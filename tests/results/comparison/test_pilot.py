"""The smallest detectable effect of a sweep to come, from what an earlier one found."""

import json
import math

import pytest

from omsweep.results.comparison.components import VarianceComponents
from omsweep.results.comparison.detectable import Design, power, smallest_detectable_effect
from omsweep.results.comparison.pilot import planned, read_pilot
from omsweep.results.comparison.question import question_of

PARTS = {"sft_seed": 0.01, "training_seed": 0.02, "item": 0.003, "residual": 0.004}


def row(arm, against, family="tiny-llama", **parts):
    return {"arm": arm, "against": against, "family": family, "groups": 20, "components": {**PARTS, **parts}}


def content(rows, blocks=("tiny-llama", "tiny-qwen2")):
    return {"variance": rows, "blocks": dict.fromkeys(blocks, 4), "contrasts": [["ondare", "adamw"]]}


@pytest.fixture
def asked(make_question_space):
    return question_of(make_question_space(blocks=5, sft_seeds=3))


def test_the_effect_is_that_of_the_design_and_the_variance_of_all_contrasts(asked):
    rows = [row("ondare", "adamw"), row("ondare", "adamw", "tiny-qwen2", training_seed=0.04)]
    rows += [row("onties", "adamw", training_seed=0.08), row("onties", "adamw", "all families", training_seed=9.0)]
    found = planned(asked, ["tiny-llama", "tiny-qwen2"], content(rows))
    mean = VarianceComponents(**{**PARTS, "training_seed": (0.02 + 0.04 + 0.08) / 3})
    design = Design(sft_seeds=3, runs=5, items=20, families=2, comparisons=3)
    assert found.effect == pytest.approx(smallest_detectable_effect(design, mean))
    assert found.power == pytest.approx(power(design, mean, 0.1))
    assert (found.contrasts, found.sft_seeds_known) == (2, True)


def test_families_the_pilot_did_not_have_count_as_its_own(asked):
    found = planned(asked, ["mine"], content([row("ondare", "adamw")], ["tiny-llama"]))
    assert found.effect == planned(asked, ["tiny-llama"], content([row("ondare", "adamw")], ["tiny-llama"])).effect


def test_one_sft_seed_in_the_pilot_is_said(asked):
    alone, full = (
        planned(asked, ["tiny-llama"], content([row("ondare", "adamw", **more)])) for more in ({"sft_seed": None}, {})
    )
    assert not alone.sft_seeds_known
    assert alone.effect < full.effect


def test_what_one_family_of_the_pilot_shows_is_not_thrown_away(asked):
    rows = [row("ondare", "adamw"), row("ondare", "adamw", "tiny-qwen2", sft_seed=None)]
    both = planned(asked, ["tiny-llama", "tiny-qwen2"], content(rows))
    known = planned(asked, ["tiny-llama", "tiny-qwen2"], content([rows[0], row("ondare", "adamw", "tiny-qwen2")]))
    assert both.effect == pytest.approx(known.effect)
    assert both.sft_seeds_known


def test_nothing_repeated_shows_nothing(make_question_space):
    asked = question_of(make_question_space(blocks=1, sft_seeds=1))
    found = planned(asked, ["tiny-llama"], content([row("ondare", "adamw")]))
    assert (found.effect, found.power) == (math.inf, 0.0)


def test_a_pilot_is_a_folder_or_the_file(tmp_path):
    given = content([row("ondare", "adamw")])
    (tmp_path / "comparison.json").write_text(json.dumps(given))
    assert read_pilot(str(tmp_path)) == read_pilot(str(tmp_path / "comparison.json")) == given


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no comparison.json: give the folder of a sweep"),
        ("[]", "is not the comparison.json of a sweep"),
        ("{", "is not the comparison.json of a sweep"),
        ('{"variance": [], "contrasts": [["a", "b"]]}', "holds no variances"),
        ('{"variance": [{"arm": "x"}], "headline": []}', "is not the comparison.json of a sweep of this version"),
    ],
)
def test_what_is_no_pilot_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "comparison.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_pilot(str(tmp_path))
