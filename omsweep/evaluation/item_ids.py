"""The ids of everything that policies are scored on, read before anything is trained."""

from omsweep.evaluation.prompts import all_reward_prompts, read_reward_prompts
from omsweep.evaluation.settings import SPLITS, EvaluateSettings, prompts_path, suite_folder
from omsweep.evaluation.suite import load_suite


def evaluation_ids(settings: EvaluateSettings) -> frozenset[str]:
    """Ids of the tax items and reward prompts of every split, `confirm` too, `limit` or not.

    Raises:
        ValueError: a suite or reward prompts that cannot be read, or have nothing in a split that is scored.
    """
    suite = load_suite(suite_folder(settings.tax))
    prompts = prompts_path(settings.reward.prompts)
    for split in SPLITS:
        suite.chosen(split, None)
        read_reward_prompts(prompts, split=split)
    tax = {item.item_id for items in suite.items.values() for item in items}
    return frozenset(tax | {prompt.item_id for prompt in all_reward_prompts(prompts)})
