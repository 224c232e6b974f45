"""The smallest detectable effect of a sweep to come, from what an earlier one found."""

import json
import math

import pytest

from omsweep.results.comparison.components import VarianceComponents
from omsweep.results.comparison.detectable import Design, smallest_detectable_effect
from omsweep.results.comparison.pilot import planned, read_pilot
from omsweep.results.comparison.question import question_of

PARTS = {"sft_seed": 0.01, "training_seed": 0.02, "item": 0.003, "residual": 0.004}


def row(arm, against, family="tiny-llama", **parts):
    return {"arm": arm, "against": against, "family": family, "groups": 20, "components": {**PARTS, **parts}}


@pytest.fixture
def asked(make_question_space):
    return question_of(make_question_space(blocks=5, sft_seeds=3))


def effect_of(found, arm, against="adamw + offline"):
    (one,) = [one for one in found if (one.arm, one.against) == (arm, against)]
    return one


def test_the_effect_is_that_of_the_design_and_the_mean_of_the_families(asked):
    rows = [row("ondare + offline", "adamw + offline", family) for family in ("tiny-llama", "other")]
    rows += [row("ondare + offline", "adamw + offline", "tiny-qwen2", training_seed=0.04)]
    found = planned(asked, ["tiny-llama", "tiny-qwen2"], {"variance": rows})
    mean = VarianceComponents(**{**PARTS, "training_seed": 0.03})
    design = Design(sft_seeds=3, runs=5, items=20, families=2, comparisons=2 * 4)
    assert effect_of(found, "ondare + offline").effect == pytest.approx(smallest_detectable_effect(design, mean))
    assert [one.effect for one in found if one.arm == "ondare"] == [None, None]


def test_one_sft_seed_in_the_pilot_is_said(asked):
    found = planned(asked, ["tiny-llama"], {"variance": [row("ondare", "adamw", sft_seed=None)]})
    known = effect_of(found, "ondare", "adamw")
    assert not known.sft_seeds_known
    full = planned(asked, ["tiny-llama"], {"variance": [row("ondare", "adamw")]})
    assert known.effect < effect_of(full, "ondare", "adamw").effect


def test_nothing_repeated_shows_nothing(make_question_space):
    asked = question_of(make_question_space(blocks=1, sft_seeds=1))
    found = planned(asked, ["tiny-llama"], {"variance": [row("ondare", "adamw")]})
    assert math.isinf(effect_of(found, "ondare", "adamw").effect)


def test_a_pilot_is_a_folder_or_the_file(tmp_path):
    content = {"variance": [row("ondare", "adamw")]}
    (tmp_path / "comparison.json").write_text(json.dumps(content))
    assert read_pilot(str(tmp_path)) == read_pilot(str(tmp_path / "comparison.json")) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no comparison.json: give the folder of a sweep"),
        ("[]", "is not the comparison.json of a sweep"),
        ("{", "is not the comparison.json of a sweep"),
        ('{"variance": []}', "holds no variances"),
    ],
)
def test_what_is_no_pilot_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "comparison.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_pilot(str(tmp_path))
