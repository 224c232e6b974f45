"""A policy's scores against its SFT model's: tables per item, and the numbers of the trial record made from them."""

from collections.abc import Sequence
from typing import Any

from omsweep.cache import recipe_hash
from omsweep.evaluation.settings import EvaluateSettings
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
    evaluate: EvaluateSettings, prepared: Prepared, model: Any, tokenizer: Any, sft: Any, split: str
) -> tuple[Any, dict[str, Any]]:
    """A policy's table of scores on a split, and the numbers of `Scores` from it, named as on the search split.

    Args:
        evaluate: what is measured.
        prepared: of the policy's SFT model.
        model: the policy.
        tokenizer: its tokenizer.
        sft: the SFT model, for `kl`.
        split: `search` or `report`.
    """
    from omsweep.evaluation.score import score_policy
    from omsweep.evaluation.statistics import reward_and_tax

    frame = score_policy(
        model,
        tokenizer,
        settings=evaluate,
        split=split,
        seed=EVALUATION_SEED,
        reference_model=sft,
        decoding=Decoding(**prepared.decoding),
    )
    return frame, reward_and_tax(frame, reference_table(evaluate, prepared, split))


def score_splits(
    evaluate: EvaluateSettings, prepared: Prepared, model: Any, tokenizer: Any, sft: Any, splits: Sequence[str]
) -> tuple[Any, dict[str, Any]]:
    """As `score_split` over splits, one table, and the `decoding` of both; the report split's are named `_report`."""
    import pandas

    frames: list[Any] = []
    fields: dict[str, Any] = {"decoding": prepared.decoding}
    for split in splits:
        frame, numbers = score_split(evaluate, prepared, model, tokenizer, sft, split)
        frames.append(frame)
        fields |= numbers if split == "search" else on_report_split(numbers)
    return pandas.concat(frames, ignore_index=True), fields
