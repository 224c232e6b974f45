"""The embedded suite through lm-eval, with answers put into the model's mouth."""

import pytest

from omsweep.evaluation import tax
from omsweep.evaluation.prompts import read_reward_prompts
from omsweep.evaluation.settings import SPLITS, prompts_path, suite_folder
from omsweep.evaluation.suite import load_suite
from omsweep.evaluation.tax import score_tax

CATEGORIES = {
    "agent",
    "code",
    "code_switching",
    "instruction_following",
    "knowledge",
    "math",
    "reading_comprehension",
}


@pytest.fixture(scope="module")
def random_model(tmp_path_factory):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from omsweep.families.tiny.architecture import random_family

    folder = random_family(tmp_path_factory.mktemp("family"))
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("split", SPLITS)
def test_enough_items_and_prompts(split):
    chosen = load_suite(suite_folder("tiny")).chosen(split, None)
    assert {items[0].category for items in chosen.values()} == CATEGORIES
    assert all(len(items) >= 250 for items in chosen.values())
    assert len(read_reward_prompts(prompts_path("tiny"), split=split)) >= 150


@pytest.mark.parametrize(("says", "score"), [(" {answer} ", 1.0), ("{answer} sorry", 0.0), ("", 0.0)])
def test_the_answer_is_right_and_anything_more_or_less_is_wrong(random_model, monkeypatch, says, score):
    def speak(asked, *_):
        return [says.format(answer=one.doc["answer"]) for of_task in asked.instances.values() for one in of_task]

    monkeypatch.setattr(tax, "_replies", speak)
    scores = score_tax(*random_model, suite="tiny", split="search")
    assert set(scores["category"]) == CATEGORIES
    assert set(scores["score"]) == {score}


def test_an_untrained_model_knows_nothing(random_model):
    scores = score_tax(*random_model, suite="tiny", split="report", limit=10)
    assert len(scores) == 70
    assert scores["score"].mean() < 0.1
