"""The texts of everything that policies are scored on, read before anything is trained. Torch-free until asked."""

from collections.abc import Iterator, Mapping
from typing import Any

from omsweep.evaluation.backends.settings import check_answerable
from omsweep.evaluation.prompts import all_reward_prompts, read_reward_prompts
from omsweep.evaluation.settings import SPLITS, EvaluateSettings, prompts_path
from omsweep.preferences.contamination import ScoredText


def scored_texts(settings: EvaluateSettings) -> tuple[ScoredText, ...]:
    """Texts of the tax items and reward prompts of all splits, `confirm` too, `limit` or not.

    A tax item has the prompt that its task makes of it and, where the task wraps it, the longest text of the item that
    stands in that prompt: the question, or the passage it is about.

    Raises:
        ValueError: a suite or reward prompts that cannot be read, or have nothing in a split that is scored; tasks that
            the backend cannot score.
    """
    prompts = dict.fromkeys(reward.prompts for reward in settings.all_rewards)
    return (*_tax_texts(settings), *(text for name in prompts for text in reward_texts(name)))


def reward_texts(prompts: str) -> Iterator[ScoredText]:
    """The reward prompts of all splits; raises ValueError where they cannot be read."""
    path = prompts_path(prompts)
    for split in SPLITS:
        read_reward_prompts(path, split=split)
    for prompt in all_reward_prompts(path):
        yield ScoredText(f"reward prompt {prompt.item_id}", prompt.messages)


def _tax_texts(settings: EvaluateSettings) -> Iterator[ScoredText]:
    from omsweep.evaluation.suite import load_suite  # here, because lm-eval needs torch and reward prompts do not

    suite = load_suite(settings.suite)
    check_answerable(settings.backend, [n for n, task in suite.tasks.items() if task.OUTPUT_TYPE != "generate_until"])
    for split in SPLITS:
        suite.chosen(split, None)  # whether each has items
    for task, items in suite.items.items():
        docs = suite.tasks[task].eval_docs  # each time it is asked for, a task processes all of them anew
        for item in items:
            for text in _texts_of(suite.tasks[task], docs[item.index]):
                yield ScoredText(f"tax item {item.item_id}", text)


def _texts_of(task: Any, doc: Mapping[str, Any]) -> Iterator[str]:
    asked = task.doc_to_text(doc)
    texts = [value for value in doc.values() if isinstance(value, str) and value.strip()]
    if isinstance(asked, str):  # else the number of one of the choices, which are the texts
        yield asked
        texts = [value for value in texts if value.strip() in asked]
    if texts:
        yield max(texts, key=len)
