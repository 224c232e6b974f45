"""Drawing from one partition of the world: training generators see `train` only, suites see `test` only."""

from collections.abc import Callable
from random import Random
from typing import Literal, TypeVar

from omsweep.worlds.tiny.exercise import Exercise, Skill
from omsweep.worlds.tiny.splits import item_id, partition_of
from omsweep.worlds.tiny.topics import draw_open_prompt

OPEN_TASK = "open"
Drawn = TypeVar("Drawn")


def draw_exercise(rng: Random, skill: Skill, partition: Literal["train", "test"]) -> Exercise:
    """A random exercise of `skill` whose prompt belongs to `partition`."""
    return _rejecting(lambda: skill.draw(rng), lambda drawn: item_id(skill.name, drawn.prompt), partition)


def draw_open(rng: Random, partition: Literal["train", "test"]) -> str:
    """A random open-ended prompt that belongs to `partition`."""
    return _rejecting(lambda: draw_open_prompt(rng), lambda prompt: item_id(OPEN_TASK, prompt), partition)


def _rejecting(draw: Callable[[], Drawn], identify: Callable[[Drawn], str], partition: str) -> Drawn:
    while True:
        drawn = draw()
        if partition_of(identify(drawn)) == partition:
            return drawn
