"""A policy's scores against its SFT model's: tables per item, and the numbers of the trial record made from them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omsweep.cache import recipe_hash
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.spread import Models, Spread, alone
from omsweep.families.decoding import Decoding
from omsweep.store.records import Prepared, on_report_split
from omsweep.trial.models import sft_model, sft_tokenizer

if TYPE_CHECKING:
    from omsweep.evaluation.backends.openai import OpenAI

EVALUATION_SEED = 0
"""Sampling seed of every scoring: the SFT model and all policies meet the same draws."""


def answers_of(prepared: Prepared) -> dict[str, Any]:
    """What fixes the SFT model's answers to a prompt, for keys of the cache."""
    return {name: getattr(prepared, name) for name in ("weights_hash", "dtype", "chat_template", "decoding")}


def reference_table(evaluate: EvaluateSettings, prepared: Prepared, split: str) -> Any:
    """The SFT model's table of scores on a split, from the cache or scored now."""
    from omsweep.evaluation.score import reference_scores
    from omsweep.families.load import find

    serves, tokenizer = evaluate.backend.serves, sft_tokenizer(prepared)
    folder = find(prepared.sft, revision=prepared.sft_revision)[0] if serves else None
    return reference_scores(
        recipe_hash(answers_of(prepared)),
        lambda: (None if serves else sft_model(prepared), tokenizer),
        settings=evaluate,
        split=split,
        seed=EVALUATION_SEED,
        decoding=Decoding(**prepared.decoding),
        backend=served(evaluate, prepared, Models(None, tokenizer, folder=folder)),
    )


@contextmanager
def served(evaluate: EvaluateSettings, prepared: Prepared, models: Models) -> Iterator["OpenAI | None"]:
    """A server for the policy's folder, ended on leaving; None where the model in this process answers."""
    if not evaluate.backend.serves:
        yield None
        return
    from omsweep.evaluation.backends.openai import opened

    assert models.folder is not None, "a server reads a folder"
    decoding = Decoding(**prepared.decoding)
    with opened(evaluate.backend, Path(models.folder), models.tokenizer, decoding) as backend:
        yield backend


def score_split(
    evaluate: EvaluateSettings,
    prepared: Prepared,
    models: Models,
    split: str,
    *,
    spread: Spread = alone,
    reference: Any = None,
    backend: Any = None,
) -> tuple[Any, dict[str, Any]]:
    """A policy's table of scores on a split, and the numbers of `Scores` from it, named as on the search split.

    Args:
        evaluate: what is measured.
        prepared: of the policy's SFT model.
        models: the policy with its tokenizer, and the SFT model for `kl`.
        split: `search` or `report`.
        spread: who computes the batches.
        reference: the SFT model's table; None: from the cache, or scored now.
        backend: from `served`.
    """
    from omsweep.evaluation.statistics import reward_and_tax

    reference = reference_table(evaluate, prepared, split) if reference is None else reference
    frame = _policy_table(evaluate, prepared, models, split, spread, reference, backend)
    return frame, reward_and_tax(frame, reference)


def score_rung(
    evaluate: EvaluateSettings, prepared: Prepared, models: Models, limit: int | None, *, spread: Spread = alone
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """A policy's numbers on `limit` items of the search split, and their noise (`rung_noise`).

    The SFT model's table is one of its own, not a part of its table on all items: which examples a prompt shows, and
    which draws a prompt that comes twice is answered with, depend on the items that are asked before it.
    """
    from omsweep.evaluation.statistics import reward_and_tax, rung_noise

    part = replace(evaluate, limit=limit, rewards={})
    reference = reference_table(part, prepared, "search")
    frame = _policy_table(part, prepared, models, "search", spread, reference)
    return reward_and_tax(frame, reference), rung_noise(frame, reference)


def score_splits(
    evaluate: EvaluateSettings, prepared: Prepared, models: Models, splits: Sequence[str], *, spread: Spread = alone
) -> tuple[Any, dict[str, Any]]:
    """As `score_split` over splits, one table, and the `decoding` and `backend` of both.

    The report split's numbers are named `_report`.
    """
    import pandas

    frames: list[Any] = []
    fields: dict[str, Any] = {"decoding": prepared.decoding}
    with served(evaluate, prepared, models) as backend:
        fields["backend"] = None if backend is None else backend.identity
        for split in splits:
            frame, numbers = score_split(evaluate, prepared, models, split, spread=spread, backend=backend)
            frames.append(frame)
            fields |= numbers if split == "search" else on_report_split(numbers)
    return pandas.concat(frames, ignore_index=True), fields


def _policy_table(
    evaluate: EvaluateSettings,
    prepared: Prepared,
    models: Models,
    split: str,
    spread: Spread,
    baseline: Any,
    backend: Any = None,
) -> Any:
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
        backend=backend,
        baseline=baseline,
    )
