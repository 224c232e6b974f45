"""The test items: exactly gradable exercises per skill and reward prompts, all from the test partition."""

from collections.abc import Callable
from random import Random
from typing import Any

from omsweep.worlds.tiny.draw import OPEN_TASK, draw_exercise, draw_open
from omsweep.worlds.tiny.skills.table import SKILLS
from omsweep.worlds.tiny.splits import item_id, split_of

SPLITS = ("search", "report")
ITEMS_PER_SPLIT = 250
REWARD_PROMPTS_PER_SPLIT = 160
SEED = 0
DRAWS_PER_ITEM = 40


def tax_items(category: str, *, per_split: int = ITEMS_PER_SPLIT) -> list[dict[str, Any]]:
    """`per_split` items of a skill in each split, sorted by id.

    Returns:
        Records `{"id", "task", "category", "split", "prompt", "answer"}`; the task is `tiny_<category>`.

    Raises:
        ValueError: for an unknown category.
    """
    if category not in SKILLS:
        raise ValueError(f"category must be one of {', '.join(SKILLS)}, got {category!r}")
    rng = Random(f"tax items {category} {SEED}")

    def draw() -> dict[str, Any]:
        exercise = draw_exercise(rng, SKILLS[category], "test")
        return _record(category, exercise.prompt) | {"answer": exercise.answer}

    return _both_splits(draw, per_split)


def reward_prompts(*, per_split: int = REWARD_PROMPTS_PER_SPLIT) -> list[dict[str, Any]]:
    """`per_split` open-ended prompts in each split, by id: records like those of `tax_items`, without an answer."""
    rng = Random(f"reward prompts {SEED}")
    return _both_splits(lambda: _record(OPEN_TASK, draw_open(rng, "test")), per_split)


def _record(task: str, prompt: str) -> dict[str, Any]:
    identity = item_id(task, prompt)
    return {"id": identity, "task": f"tiny_{task}", "category": task, "split": split_of(identity), "prompt": prompt}


def _both_splits(draw: Callable[[], dict[str, Any]], per_split: int) -> list[dict[str, Any]]:
    found: dict[str, dict[str, dict[str, Any]]] = {split: {} for split in SPLITS}
    for _ in range(DRAWS_PER_ITEM * per_split):
        if all(len(records) == per_split for records in found.values()):
            break
        record = draw()
        records = found[record["split"]]
        if len(records) < per_split:
            records.setdefault(record["id"], record)
    else:
        raise AssertionError(f"the world is too small for {per_split} items in each split")
    return sorted((record for records in found.values() for record in records.values()), key=lambda r: str(r["id"]))
