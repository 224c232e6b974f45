"""A policy's scores against its SFT model's: tables per item, and the numbers of the trial record made from them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from omsweep.cache import recipe_hash
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.spread import Models, Spread, alone
from omsweep.families.decoding import Decoding
from omsweep.store.records import Prepared, on_report_split
from omsweep.trial.models import sft_model, sft_tokenizer

EVALUATION_SEED = 0
"""Sampling seed of every scoring: the SFT model and all policies meet the same draws."""


def answers_of(prepared: Prepared) -> dict[str, Any]:
    """What fixes the SFT model's answers to a prompt, for keys of the cache."""
    return {name: getattr(prepared, name) for name in ("weights_hash", "dtype", "chat_template", "decoding")}


def reference_table(evaluate: EvaluateSettings, prepared: Prepared, split: str) -> Any:
    """The SFT model's table of scores on a split, from the cache or scored now."""
    from omsweep.evaluation.score import reference_scores

    return reference_scores(
        recipe_hash(answers_of(prepared)),
        lambda: (sft_model(prepared), sft_tokenizer(prepared)),
        settings=evaluate,
        split=split,
        seed=EVALUATION_SEED,
        decoding=Decoding(**prepared.decoding),
    )


def score_split(
    evaluate: EvaluateSettings,
    prepared: Prepared,
    models: Models,
    split: str,
    *,
    spread: Spread = alone,
    reference: Any = None,
) -> tuple[Any, dict[str, Any]]:
    """A policy's table of scores on a split, and the numbers of `Scores` from it, named as on the search split.

    Args:
        evaluate: what is measured.
        prepared: of the policy's SFT model.
        models: the policy with its tokenizer, and the SFT model for `kl`.
        split: `search` or `report`.
        spread: who computes the batches.
        reference: the SFT model's table; None: from the cache, or scored now.
    """
    from omsweep.evaluation.statistics import reward_and_tax

    frame = _policy_table(evaluate, prepared, models, split, spread)
    return frame, reward_and_tax(frame, reference_table(evaluate, prepared, split) if reference is None else reference)


def score_rung(
    evaluate: EvaluateSettings, prepared: Prepared, models: Models, limit: int | None, *, spread: Spread = alone
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """A policy's numbers on `limit` items of the search split, and their noise (`rung_noise`).

    The SFT model's table is one of its own, not a part of its table on all items: which examples a prompt shows, and
    which draws a prompt that comes twice is answered with, depend on the items that are asked before it.
    """
    from omsweep.evaluation.statistics import reward_and_tax, rung_noise

    part = replace(evaluate, limit=limit)
    frame = _policy_table(part, prepared, models, "search", spread)
    reference = reference_table(part, prepared, "search")
    return reward_and_tax(frame, reference), rung_noise(frame, reference)


def score_splits(
    evaluate: EvaluateSettings, prepared: Prepared, models: Models, splits: Sequence[str], *, spread: Spread = alone
) -> tuple[Any, dict[str, Any]]:
    """As `score_split` over splits, one table, and the `decoding` of both; the report split's are named `_report`."""
    import pandas

    frames: list[Any] = []
    fields: dict[str, Any] = {"decoding": prepared.decoding}
    for split in splits:
        frame, numbers = score_split(evaluate, prepared, models, split, spread=spread)
        frames.append(frame)
        fields |= numbers if split == "search" else on_report_split(numbers)
    return pandas.concat(frames, ignore_index=True), fields


def _policy_table(evaluate: EvaluateSettings, prepared: Prepared, models: Models, split: str, spread: Spread) -> Any:
    from omsweep.evaluation.score import score_policy

    return score_policy(
        models.policy,
        models.tokenizer,
        settings=evaluate,
        split=split,
        seed=EVALUATION_SEED,
        reference_model=models.reference,
        decoding=Decoding(**prepared.decoding),
        spread=spread,
    )
