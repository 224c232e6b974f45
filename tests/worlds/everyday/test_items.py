"""Test items: complete, balanced, and right: the functions run, the sums add up."""

from collections import Counter
from random import Random

import pytest

from omsweep.worlds.everyday.code_items import problems
from omsweep.worlds.everyday.items import ITEMS as SIZES
from omsweep.worlds.everyday.items import NUMBERS, SKILLS, tax_items

ITEMS = {skill: tax_items(skill) for skill in SKILLS}


@pytest.mark.parametrize("skill", SKILLS)
def test_items_are_complete_and_fill_the_splits(skill: str) -> None:
    items = ITEMS[skill]
    found = Counter(item["split"] for item in items)
    assert all(abs(found[split] - size) <= 1 for split, size in SIZES.items())
    assert len({item["id"] for item in items}) == len(items)
    assert {item["category"] for item in items} == {skill}
    for item in items:
        assert item["prompt"]
        assert item["prefix"]
        if skill != "sequences":
            assert len(set(item["choices"])) == len(item["choices"]) >= 2
            assert 0 <= item["answer"] < len(item["choices"])


@pytest.mark.parametrize("skill", SKILLS)
def test_what_belongs_together_is_in_one_split(skill: str) -> None:
    places = {(item.get("cluster", item["id"]), item["split"]) for item in ITEMS[skill]}
    assert len(places) == len({cluster for cluster, _ in places})


def test_functions_and_ends_of_lists_are_clusters() -> None:
    functions = {(item["cluster"], item["prompt"].split("def ")[1].split("(")[0]) for item in ITEMS["code"]}
    assert len(functions) == len({name for _, name in functions}) == len({cluster for cluster, _ in functions})
    ends = {(item["cluster"], " ".join([*item["prefix"].split(), item["answer"]][-4:])) for item in ITEMS["sequences"]}
    assert len(ends) == len({cluster for cluster, _ in ends}) < len(ITEMS["sequences"])


@pytest.mark.parametrize("skill", sorted(set(SKILLS) - {"sequences"}))
def test_no_place_of_the_right_answer_is_a_safe_guess(skill: str) -> None:
    places = Counter(item["answer"] / len(item["choices"]) for item in ITEMS[skill])
    assert max(places.values()) < 0.65 * len(ITEMS[skill])


def test_sums_add_up() -> None:
    for item in ITEMS["arithmetic"]:
        words = item["prompt"].replace(".", "").split()
        first, second = (NUMBERS.index(word) for word in words if word in NUMBERS)
        total = first + second if "buys" in item["prompt"] else first - second
        assert item["choices"][item["answer"]] == NUMBERS[total]


def result(problem, word, given):
    body = f"{problem.before} {word}{problem.after}"
    scope = {}
    exec(f"def function({problem.arguments}):\n    {body}", scope)
    return eval(f"repr(function({given}))", scope)


@pytest.mark.parametrize("problem", problems(), ids=lambda problem: problem.name)
def test_only_the_right_word_makes_an_example_true(problem) -> None:
    for given, expected in problem.examples:
        right = [word for word in problem.words if result(problem, word, given) == expected]
        assert right == [problem.word]


def test_every_code_item_names_its_word() -> None:
    words = {problem.name: problem.word for problem in problems()}
    for item in ITEMS["code"]:
        name = item["prompt"].split("def ")[1].split("(")[0]
        assert item["choices"][item["answer"]] == words[name]


def test_reading_is_about_what_was_told() -> None:
    for item in ITEMS["reading"]:
        right, told = item["choices"][item["answer"]], item["prompt"].split(". ")[:-1]
        place = item["prefix"].removeprefix("In the ").removesuffix(" is")
        person = item["prefix"].split(" is ")[0]
        sentence = f"{person} is in the {right}" if item["prefix"].endswith("in the") else f"{right} is in the {place}"
        assert sentence in told


def test_an_unknown_skill_is_refused() -> None:
    with pytest.raises(ValueError, match="skill must be one of arithmetic, code, .*got 'poetry'"):
        tax_items("poetry")


def test_the_order_of_knowledge_does_not_depend_on_hash_randomisation() -> None:
    assert list(SKILLS["knowledge"](Random(3))) == list(SKILLS["knowledge"](Random(3)))
