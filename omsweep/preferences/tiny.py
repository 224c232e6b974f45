"""The `tiny` data set: pairs of the embedded world, sampled from a family's SFT model, judged by a noisy annotator."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from omsweep.preferences.records import check_disjoint
from omsweep.preferences.settings import Generate
from omsweep.worlds.tiny.items import reward_prompts, tax_items
from omsweep.worlds.tiny.preferences import preference_pair, preference_prompts
from omsweep.worlds.tiny.skills.table import SKILLS


def build_pairs(generate: Generate, *, prompts: int, samples: int, seed: int) -> list[dict[str, Any]]:
    """Annotated pairs in TRL's conversational format with an `id`; at most one for each of `prompts` prompts.

    Open-ended prompts (70 %) get `samples` answers from `generate`, skill prompts constructed ones; see
    `omsweep.worlds.tiny.preferences` for the annotator.

    Raises:
        ValueError: a prompt is also a tax item or a reward prompt.
    """
    records = preference_prompts(prompts, seed)
    check_no_test_item([record["id"] for record in records])
    opened = [record for record in records if record["kind"] == "open"]
    answers = generate([_messages(record) for record in opened], samples, seed) if opened else []
    candidates = {record["id"]: texts for record, texts in zip(opened, answers, strict=True)}
    pairs = [preference_pair(record, candidates.get(record["id"], []), seed=seed) for record in records]
    return [pair for pair in pairs if pair is not None]


def open_prompts(*, prompts: int, seed: int) -> list[dict[str, Any]]:
    """The open-ended ones among `prompts` training prompts: `{"id", "prompt"}` with the text of one user turn."""
    records = preference_prompts(prompts, seed)
    return [{"id": record["id"], "prompt": record["prompt"]} for record in records if record["kind"] == "open"]


def check_no_test_item(ids: Sequence[str]) -> None:
    """ValueError naming prompts that are also tax items or reward prompts of the embedded world."""
    check_disjoint(ids, _test_ids())


def _messages(record: dict[str, Any]) -> list[dict[str, str]]:
    return [{"role": "user", "content": record["prompt"]}]


@cache
def _test_ids() -> frozenset[str]:
    items = [item for category in SKILLS for item in tax_items(category)] + reward_prompts()
    return frozenset(item["id"] for item in items)
