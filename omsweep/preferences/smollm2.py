"""The `smollm2` data sets: a model's own answers to everyday prompts, the more positive and shorter one chosen."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from omsweep.preferences.records import check_disjoint
from omsweep.preferences.settings import Generate
from omsweep.worlds.everyday.positivity import Compound, positivity, vader
from omsweep.worlds.everyday.prompts import Pool, reward_prompts, some_prompts

MIN_MARGIN = 0.1
"""Points of positivity that chosen and rejected must be more than apart."""


def build_pairs(generate: Generate, *, prompts: int, samples: int, seed: int) -> list[dict[str, Any]]:
    """Best against worst of `samples` answers to each of `prompts` prompts, in TRL's conversational format.

    Prompts whose answers lie within `MIN_MARGIN` give no pair.

    Raises:
        ValueError: VADER is not installed, or there are fewer prompts.
    """
    return pairs_of("preference", generate, prompts=prompts, samples=samples, seed=seed)


def open_prompts(*, prompts: int, seed: int) -> list[dict[str, Any]]:
    """The prompts of `build_pairs`: `{"id", "prompt"}` with the text of one user turn."""
    return [dict(record) for record in some_prompts("preference", prompts, seed)]


def pairs_of(pool: Pool, generate: Generate, *, prompts: int, samples: int, seed: int) -> list[dict[str, Any]]:
    """As `build_pairs` for the prompts of any pool."""
    compound = vader()  # before anything is sampled
    records = some_prompts(pool, prompts, seed)
    check_disjoint([record["id"] for record in records], _test_ids())
    answers = generate([[{"role": "user", "content": record["prompt"]}] for record in records], samples, seed)
    pairs = [best_and_worst(texts, compound) for texts in answers]
    return [
        {
            "id": record["id"],
            "prompt": [{"role": "user", "content": record["prompt"]}],
            "chosen": [{"role": "assistant", "content": pair[0]}],
            "rejected": [{"role": "assistant", "content": pair[1]}],
        }
        for record, pair in zip(records, pairs, strict=True)
        if pair is not None
    ]


def best_and_worst(answers: Sequence[str], compound: Compound) -> tuple[str, str] | None:
    """The answers with the highest and the lowest positivity; None where they are less than `MIN_MARGIN` apart."""
    scored = [(positivity(text, compound), text) for text in dict.fromkeys(answers) if text.strip()]
    if not scored:
        return None
    best, worst = max(scored), min(scored)
    return (best[1], worst[1]) if best[0] - worst[0] > MIN_MARGIN else None


@cache
def _test_ids() -> frozenset[str]:
    return frozenset(record["id"] for record in reward_prompts())
