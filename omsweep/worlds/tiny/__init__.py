"""The embedded world: a closed language with seven gradable skills and a gold reward. Pure Python."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "SKILLS": "omsweep.worlds.tiny.skills.table",
    "annotate": "omsweep.worlds.tiny.preferences",
    "gold_reward": "omsweep.worlds.tiny.gold",
    "item_id": "omsweep.worlds.tiny.splits",
    "partition_of": "omsweep.worlds.tiny.splits",
    "preference_pair": "omsweep.worlds.tiny.preferences",
    "preference_prompts": "omsweep.worlds.tiny.preferences",
    "reward_prompts": "omsweep.worlds.tiny.items",
    "split_of": "omsweep.worlds.tiny.splits",
    "tax_items": "omsweep.worlds.tiny.items",
    "vocabulary": "omsweep.worlds.tiny.vocabulary",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
