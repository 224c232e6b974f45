"""The embedded world: a closed language with seven gradable skills and a gold reward. Pure Python."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "SKILLS": "omsweep.tinyworld.skills.table",
    "annotate": "omsweep.tinyworld.preferences",
    "gold_reward": "omsweep.tinyworld.gold",
    "item_id": "omsweep.tinyworld.splits",
    "partition_of": "omsweep.tinyworld.splits",
    "preference_pair": "omsweep.tinyworld.preferences",
    "preference_prompts": "omsweep.tinyworld.preferences",
    "reward_prompts": "omsweep.tinyworld.items",
    "split_of": "omsweep.tinyworld.splits",
    "tax_items": "omsweep.tinyworld.items",
    "vocabulary": "omsweep.tinyworld.vocabulary",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
