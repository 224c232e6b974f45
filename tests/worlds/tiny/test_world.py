"""The world as a whole: closed vocabulary, training text without test prompts, topics, plain Python."""

import subprocess
import sys
from random import Random

import pytest

from omsweep.worlds.tiny.items import reward_prompts, tax_items
from omsweep.worlds.tiny.preferences import preference_prompts, skill_candidates
from omsweep.worlds.tiny.skills.table import SKILLS
from omsweep.worlds.tiny.splits import item_id, partition_of
from omsweep.worlds.tiny.topics import TOPICS, bare_question, draw_open_prompt, draw_response, topic_of
from omsweep.worlds.tiny.training_text import ANSWER, QUESTION, draw_conversation, draw_document
from omsweep.worlds.tiny.vocabulary import vocabulary


def test_every_text_is_made_of_the_vocabulary() -> None:
    rng = Random(0)
    texts = [draw_document(rng) for _ in range(3000)]
    texts += [text for _ in range(3000) for text in draw_conversation(rng)]
    for record in preference_prompts(500, seed=0):
        texts += skill_candidates(record, seed=0) if record["kind"] == "skill" else [record["prompt"]]
    used = {word for text in texts for word in text.split()}
    assert used <= set(vocabulary())
    assert len(used) > 0.95 * len(vocabulary())


def test_the_vocabulary_is_sorted_and_without_duplicates() -> None:
    assert list(vocabulary()) == sorted(set(vocabulary()))


def test_training_never_shows_a_test_prompt() -> None:
    rng = Random(1)
    tested = {item["prompt"] for category in SKILLS for item in tax_items(category)}
    tested |= {item["prompt"] for item in reward_prompts()}
    asked = {draw_conversation(rng)[0] for _ in range(5000)}
    documents = (draw_document(rng) for _ in range(5000))
    asked |= {text.removeprefix(f"{QUESTION} ").split(f" {ANSWER}")[0] for text in documents}
    assert tested.isdisjoint(asked)


@pytest.mark.parametrize("category", SKILLS)
def test_tax_items_are_test_prompts_in_full_splits(category: str) -> None:
    items = tax_items(category)
    assert len({item["id"] for item in items}) == len(items)
    assert all(partition_of(item["id"]) == "test" for item in items)
    assert all(item["id"] == item_id(category, item["prompt"]) for item in items)
    assert [sum(item["split"] == split for item in items) for split in ("search", "report", "confirm")] == [
        250,
        250,
        50,
    ]


def test_more_items_than_the_world_has_is_an_error() -> None:
    with pytest.raises(AssertionError, match="too small"):
        tax_items("knowledge", sizes={"search": 2000, "report": 250, "confirm": 50})


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(ValueError, match=r"category must be one of math, code.*got 'cooking'"):
        tax_items("cooking")


def test_open_prompts_name_one_topic_and_answers_vary() -> None:
    rng = Random(2)
    for _ in range(300):
        prompt = draw_open_prompt(rng)
        assert sum(word in TOPICS for word in prompt.split()) == 1
    assert topic_of("what is 1 plus 2 ?") is None
    assert len({draw_response(rng, "chess") for _ in range(100)}) > 80


def test_a_bare_question_is_what_prompts_have_in_common() -> None:
    asked = "hi . what do you think about chess ? i am new to it ."
    assert bare_question(asked) == bare_question("what do you think about chess ?") == "what do you think about chess ?"
    assert bare_question("i am tired of chess . what now ?") == "i am tired of chess . what now ?"


def test_the_world_needs_nothing_but_python() -> None:
    program = (
        "import sys, omsweep.worlds.tiny as world\n"
        "[getattr(world, name) for name in world.__all__]\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'numpy', 'torch', 'transformers', 'datasets', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
