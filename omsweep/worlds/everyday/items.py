"""The test items of the everyday suite: six skills, each item with one right answer, made from tables and templates.

Five skills are multiple choice by likelihood: `prompt` is the user's turn, `prefix` begins the assistant's, `choices`
are how it may go on, one token each, so that one pass over the text scores all of them. In the sixth the model itself
says the next word of a list. No item is among the instructions of `omsweep.worlds.everyday.instructions`.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from string import ascii_uppercase
from typing import Any

from omsweep.worlds.everyday.code_items import code_items
from omsweep.worlds.everyday.facts import ANIMALS, CAPITALS, OPPOSITES

ITEMS = {"search": 48, "report": 48, "confirm": 24}
"""Items of each skill in each split."""

CHOICES = 4
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NAMES = ["Anna", "Ben", "David", "Emma", "Jack", "Kate", "Lucy", "Mark", "Peter", "Sarah"]
THINGS = ["pens", "books", "eggs", "coins", "cups", "apples"]
PLACES = ["kitchen", "garden", "school", "library", "office", "park"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
]  # fmt: skip
LETTERS = list(ascii_uppercase)

Draw = Callable[[Random], dict[str, Any]]


def tax_items(skill: str, *, sizes: Mapping[str, int] = ITEMS) -> list[dict[str, Any]]:
    """So many items of a skill in each split, sorted by id; one more or fewer where clusters do not come out even.

    Returns:
        Records `{"id", "category", "split", "prompt", "prefix", "answer"}`; those of multiple choice also
        `choices`, and their `answer` is the place of the right one. Items on one passage, on one function or with the
        same end of a list have a `cluster` in common, and are in one split.

    Raises:
        ValueError: for an unknown skill.
    """
    if skill not in SKILLS:
        raise ValueError(f"skill must be one of {', '.join(SKILLS)}, got {skill!r}")
    found: dict[str, dict[str, Any]] = {}
    for item in SKILLS[skill](Random(f"everyday items {skill}")):
        identity = _id(skill, f"{item['prompt']}|{item['prefix']}")
        cluster = {"cluster": _id(skill, item["cluster"])} if "cluster" in item else {}
        found.setdefault(identity, {"id": identity, "category": skill, **item, **cluster})
        if len(found) == sum(sizes.values()):
            break
    else:
        raise AssertionError(f"{skill} has only {len(found)} different items")
    split = _splits(Counter(item.get("cluster", item["id"]) for item in found.values()), sizes)
    ordered = [found[identity] for identity in sorted(found)]
    return [
        {"id": item["id"], "category": skill, "split": split[item.get("cluster", item["id"])]} | item
        for item in ordered
    ]


def _id(skill: str, text: str) -> str:
    return f"{skill}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _splits(clusters: Mapping[str, int], sizes: Mapping[str, int]) -> dict[str, str]:
    """The split of each cluster: in the order of their hashes, each goes to the split that is least full."""
    split, filled = {}, dict.fromkeys(sizes, 0)
    for cluster in sorted(clusters):
        split[cluster] = min(sizes, key=lambda name: filled[name] / sizes[name])
        filled[split[cluster]] += clusters[cluster]
    return split


def choice(rng: Random, prompt: str, prefix: str, right: str, wrong: list[str]) -> dict[str, Any]:
    """A multiple choice item with the right answer at a place drawn by `rng`."""
    choices = [right, *wrong]
    rng.shuffle(choices)
    return {"prompt": prompt, "prefix": prefix, "choices": choices, "answer": choices.index(right)}


def _endless(draw: Draw) -> Callable[[Random], Iterator[dict[str, Any]]]:
    def items(rng: Random) -> Iterator[dict[str, Any]]:
        for _ in range(10_000):
            yield draw(rng)

    return items


def _arithmetic(rng: Random) -> dict[str, Any]:
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    if rng.random() < 0.5:
        first, second = rng.randint(2, 6), rng.randint(1, 6)
        asked, right = f"{name} has {NUMBERS[first]} {thing} and buys {NUMBERS[second]} more.", first + second
    else:
        first = rng.randint(4, 12)
        second = rng.randint(1, first - 1)
        asked, right = f"{name} has {NUMBERS[first]} {thing} and gives away {NUMBERS[second]}.", first - second
    wrong = rng.sample([NUMBERS[n] for n in range(1, 13) if n != right and abs(n - right) <= 4], CHOICES - 1)
    prompt = f"{asked} How many {thing} does {name} have now?"
    return choice(rng, prompt, f"{name} now has", NUMBERS[right], wrong)


def _knowledge(rng: Random) -> Iterator[dict[str, Any]]:
    facts = [
        *((f"What is the capital of {land}?", f"The capital of {land} is", city) for land, city in CAPITALS.items()),
        *((f"What is the opposite of {word}?", f"The opposite of {word} is", other) for word, other in OPPOSITES),
        *((f"What is a young {animal} called?", f"A young {animal} is called a", young) for animal, young in ANIMALS),
    ]
    tables = [list(CAPITALS.values()), [other for _, other in OPPOSITES], [young for _, young in ANIMALS]]
    rng.shuffle(facts)
    for prompt, prefix, right in facts:
        others = sorted({other for table in tables if right in table for other in table} - {right})
        yield choice(rng, prompt, prefix, right, rng.sample(others, CHOICES - 1))


def _grammar(rng: Random) -> dict[str, Any]:
    one, other = rng.sample(["teacher", "farmer", "doctor", "driver", "writer", "player", "singer", "baker"], 2)
    plural = rng.random() < 0.5
    where = rng.choice(["beside", "behind", "near", "in front of"])
    verb = rng.choice([("is", "are"), ("was", "were"), ("has", "have")])
    subject, attractor = (f"{one}s", other) if plural else (one, f"{other}s")
    right, wrong = (verb[1], verb[0]) if plural else verb
    prefix = f"The {subject} {where} the {attractor}"
    return choice(rng, f"Continue this sentence: {prefix} ...", prefix, right, [wrong])


def _reading(rng: Random) -> dict[str, Any]:
    people, places = rng.sample(NAMES, CHOICES), rng.sample(PLACES, CHOICES)
    told = " ".join(f"{person} is in the {place}." for person, place in zip(people, places, strict=True))
    asked = rng.randrange(CHOICES)
    if rng.random() < 0.5:
        question, prefix = f"Who is in the {places[asked]}?", f"In the {places[asked]} is"
        right, others = people[asked], people
    else:
        question, prefix = f"Where is {people[asked]}?", f"{people[asked]} is in the"
        right, others = places[asked], places
    return choice(rng, f"{told} {question}", prefix, right, [o for o in others if o != right]) | {"cluster": told}


def _sequences(rng: Random) -> Iterator[dict[str, Any]]:
    cyclic, finite = (DAYS, MONTHS), (NUMBERS, NUMBERS[::-1], LETTERS, LETTERS[::-1])
    runs = [
        run for order in (*cyclic, *finite) for length in (4, 5) for run in _runs(order, length, cyclic=order in cyclic)
    ]
    rng.shuffle(runs)
    for run in runs:
        end = {"cluster": ", ".join(run[-4:])}
        yield {"prompt": "Continue this list.", "prefix": ", ".join(run[:-1]) + ",", "answer": run[-1]} | end


def _runs(order: Sequence[str], length: int, *, cyclic: bool) -> Iterator[list[str]]:
    """Every run of neighbours; of a cyclic order also those that go on from its start."""
    doubled = [*order, *order]
    for start in range(len(order) if cyclic else len(order) - length + 1):
        yield doubled[start : start + length]


SKILLS: Mapping[str, Callable[[Random], Iterator[dict[str, Any]]]] = {
    "arithmetic": _endless(_arithmetic),
    "code": lambda rng: code_items(rng, choice),
    "grammar": _endless(_grammar),
    "knowledge": _knowledge,
    "reading": _endless(_reading),
    "sequences": _sequences,
}
"""Skill -> its items in the order they are taken."""
