"""The embedded world: a closed language with seven gradable skills and a gold reward. Pure Python."""

from omsweep.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
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
    },
)
