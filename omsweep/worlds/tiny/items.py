"""The test items: exactly gradable exercises per skill and reward prompts, all from the test partition."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from omsweep.worlds.tiny.draw import OPEN_TASK, draw_exercise, draw_open
from omsweep.worlds.tiny.skills.table import SKILLS
from omsweep.worlds.tiny.splits import Split, item_id, split_of
from omsweep.worlds.tiny.topics import bare_question

ITEMS: Mapping[Split, int] = {"search": 250, "report": 250, "confirm": 50}
"""Items of each skill; the smallest worlds of prompts, a tenth of whose test prompts confirm, hold little more."""

REWARD_PROMPTS: Mapping[Split, int] = {"search": 160, "report": 160, "confirm": 80}
SEED = 0
DRAWS = 10_000


def tax_items(category: str, *, sizes: Mapping[Split, int] = ITEMS) -> list[dict[str, Any]]:
    """So many items of a skill in each split, sorted by id.

    Returns:
        Records `{"id", "task", "category", "split", "prompt", "answer"}`; the task is `tiny_<category>`. Items about
        a passage also have a `cluster`, which names it: all of a passage's items are in one split.

    Raises:
        ValueError: for an unknown category.
    """
    if category not in SKILLS:
        raise ValueError(f"category must be one of {', '.join(SKILLS)}, got {category!r}")
    rng = Random(f"tax items {category} {SEED}")

    def draw() -> dict[str, Any]:
        exercise = draw_exercise(rng, SKILLS[category], "test")
        return _record(category, exercise.prompt, exercise.passage) | {"answer": exercise.answer}

    return _all_splits(draw, sizes)


def reward_prompts(*, sizes: Mapping[Split, int] = REWARD_PROMPTS) -> list[dict[str, Any]]:
    """So many open-ended prompts in each split, by id: records like those of `tax_items`, without an answer.

    One question about one topic, in whatever situation it is asked, is a cluster.
    """
    rng = Random(f"reward prompts {SEED}")

    def draw() -> dict[str, Any]:
        prompt = draw_open(rng, "test")
        return _record(OPEN_TASK, prompt, bare_question(prompt))

    return _all_splits(draw, sizes)


def _record(task: str, prompt: str, shared: str) -> dict[str, Any]:
    identity = item_id(task, prompt)
    cluster = {"cluster": item_id(task, shared)} if shared else {}
    split = split_of(cluster.get("cluster", identity))
    return {"id": identity, "task": f"tiny_{task}", "category": task, "split": split} | cluster | {"prompt": prompt}


def _all_splits(draw: Callable[[], dict[str, Any]], sizes: Mapping[Split, int]) -> list[dict[str, Any]]:
    found: dict[Split, dict[str, dict[str, Any]]] = {split: {} for split in sizes}
    for _ in range(DRAWS):
        if all(len(records) == sizes[split] for split, records in found.items()):
            break
        record = draw()
        records = found[record["split"]]
        if len(records) < sizes[record["split"]]:
            records.setdefault(record["id"], record)
    else:
        raise AssertionError(f"the world is too small for {dict(sizes)} items")
    return sorted((record for records in found.values() for record in records.values()), key=lambda r: str(r["id"]))
