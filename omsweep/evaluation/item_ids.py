"""The ids of everything that policies are scored on, read before anything is trained."""

from omsweep.evaluation.prompts import read_reward_prompts
from omsweep.evaluation.settings import SPLITS, EvaluateSettings, prompts_path, suite_folder
from omsweep.evaluation.suite import load_suite


def evaluation_ids(settings: EvaluateSettings) -> frozenset[str]:
    """Ids of the tax items and reward prompts of both splits, `limit` or not.

    Raises:
        ValueError: a suite or reward prompts that cannot be read, or have nothing in one of the splits.
    """
    suite = load_suite(suite_folder(settings.tax))
    prompts = prompts_path(settings.reward.prompts)
    ids: set[str] = set()
    for split in SPLITS:
        ids.update(item.item_id for items in suite.chosen(split, None).values() for item in items)
        ids.update(prompt.item_id for prompt in read_reward_prompts(prompts, split=split))
    return frozenset(ids)
