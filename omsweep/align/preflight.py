"""Checks before the first step: data, template and reference belong to this model, or the run stops saying why."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, load_from_disk
from transformers import PreTrainedTokenizerBase

from omsweep.align.algorithms import Algorithm
from omsweep.align.reference import COLUMNS, SUMMARY_FILE
from omsweep.align.replay import REPLAYED
from omsweep.align.settings import TrainSettings
from omsweep.align.template import tokenizer_hash
from omsweep.cache import build_once
from omsweep.families.decoding import turn_end

logger = logging.getLogger(__name__)

COMPLETIONS = {"paired": ("chosen_ids", "rejected_ids"), "unpaired": ("completion_ids",)}
ROWS_AT_ONCE = 1000
RULE_VERSION = 1
"""Raised when other examples would be refused."""
# the loss of bfloat16 weights differs with the padding of a batch; float32 has the tolerance
LOSS_TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}
LOG_RATIO_TOLERANCE_NATS = {"float32": 1e-2, "bfloat16": 1.0}
PROBE = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


class PreflightError(ValueError):
    """A run that must not start: its numbers would be wrong without looking wrong."""


def check_data(
    data: Path, rows: Dataset, *, settings: TrainSettings, algorithm: Algorithm, tokenizer: PreTrainedTokenizerBase
) -> dict[str, float]:
    """Check that prepared data are of the algorithm's kind and were made with these settings and this tokenizer.

    What they hold has been checked by `check_rows` when they were prepared.

    Returns:
        `truncated_share`: share of examples that lost their end, also logged; `examples`.

    Raises:
        PreflightError: naming what does not hold.
    """
    summary = json.loads((data / SUMMARY_FILE).read_text())
    expected: dict[str, Any] = {
        "data_kind": algorithm.data_kind,
        "max_length": settings.max_length,
        "dtype": settings.dtype,
        "tokenizer": tokenizer_hash(tokenizer),
    }
    if algorithm.data_kind == "unpaired":
        expected["per_device_batch_size"] = settings.per_device_batch_size
    for name, value in expected.items():
        if summary[name] != value:
            raise PreflightError(f"prepared data must have {name} {value!r}, got {summary[name]!r}")
    truncated = np.zeros(len(rows), dtype=bool)
    for name in COMPLETIONS[algorithm.data_kind]:
        truncated |= _cut(rows, name, settings.max_length)
    share = float(truncated.mean())
    logger.log(
        logging.WARNING if share else logging.INFO,
        "%.2f %% of %d examples are truncated at max_length %d",
        100 * share,
        len(rows),
        settings.max_length,
    )
    return {"examples": float(len(rows)), "truncated_share": share}


def check_rows(data: Path, tokenizer: PreTrainedTokenizerBase, *, root: Path | None = None) -> None:
    """Check every example of prepared data, once for each folder.

    Each must begin with exactly one BOS (when the tokenizer has one) and train the token that ends its answer unless
    truncated (the chat template's turn end, in plain text the EOS), and its prompt's tokens must be those that scoring
    would feed the model.

    Args:
        data: folder from `omsweep.align.data.prepare_data`, made with this tokenizer.
        tokenizer: the one that scoring uses.
        root: cache folder, default `omsweep.cache.cache_root()`.

    Raises:
        PreflightError: naming what does not hold and for how many.
    """

    def build(_: Path) -> None:
        rows, summary = load_from_disk(data), json.loads((data / SUMMARY_FILE).read_text())
        chat = summary["rendering"] == "chat"
        end = turn_end(tokenizer) if chat else None
        end = tokenizer.eos_token_id if end is None else end
        for name in COMPLETIONS[summary["data_kind"]]:
            _check_bos(rows, name, tokenizer)
            _check_end(rows, name, _cut(rows, name, summary["max_length"]), tokenizer, end=end)
        if chat:
            _check_prompts(rows, tokenizer)

    build_once("preflight", {"data": data.name, "rule": RULE_VERSION}, build, root=root)


def check_reference(rows: Dataset, *, algorithm: Algorithm) -> None:
    """Check that every example of a run has the reference's log-probs, numbers; raises PreflightError."""
    for name in COLUMNS[algorithm.data_kind]:
        missing = int(np.isnan(rows.select_columns([name]).with_format("numpy")[:][name]).sum())
        if missing:
            raise PreflightError(
                f"all examples of a run must have {name}, got {missing} of {len(rows)} without: score_reference was not"
                " asked for what this run reads, or the SFT model gives no numbers"
            )


def expected_loss(first: Dataset, *, settings: TrainSettings, algorithm: Algorithm) -> float:
    """The loss of the first batch, where the policy still equals its reference.

    That is ln 2 for dpo, (1 / (2 beta))^2 for ipo, 0.5 times the mean weight of its labels for kto, and with
    `nll_weight` so many times the mean negative log-likelihood of the chosen answers' tokens in each pass, by the
    reference. That of replayed answers is mixed in by their share.

    Args:
        first: the prepared examples of the first step, in training order.
    """
    loss = algorithm.initial_loss(settings.beta)
    if algorithm.data_kind == "unpaired":
        weights = np.where(first["label"], settings.desirable_weight, settings.undesirable_weight)
        loss *= float(weights.mean())
    replayed = np.array(first[REPLAYED]) if settings.replayed else np.zeros(len(first), dtype=bool)
    if settings.nll_weight:
        loss += settings.nll_weight * reference_nll(first.select(np.flatnonzero(~replayed)), settings=settings)
    if settings.replayed:
        share = settings.replayed / settings.batch_size
        nll = reference_nll(first.select(np.flatnonzero(replayed)), settings=settings)
        loss = (1 - share) * loss + share * nll
    return loss


def reference_nll(pairs: Dataset, *, settings: TrainSettings) -> float:
    """Mean negative log-likelihood per token of the chosen answers by the reference: each pass's, then their mean."""
    prompts, completions = (np.array([len(ids) for ids in pairs[name]]) for name in ("prompt_ids", "chosen_ids"))
    tokens = np.minimum(prompts + completions, settings.max_length) - prompts
    nats = -np.asarray(pairs["ref_chosen_logps"]).reshape(settings.passes, -1)
    return float((nats.sum(1) / tokens.reshape(settings.passes, -1).sum(1)).mean())


def check_start(
    *, loss: float, log_ratio_nats: float, algorithm: Algorithm, wanted: float, dtype: str
) -> dict[str, float]:
    """Check the first batch: the policy still equals its reference, so the loss has a known value.

    Large values are compared relative to it. Errors of opposite sign cancel in a loss, so the mean log-ratio of policy
    and cached reference must vanish too.

    Args:
        loss: of the first batch over all workers.
        log_ratio_nats: largest absolute mean of log policy - log reference, chosen and rejected apart.
        wanted: what the loss must be, see `expected_loss`.

    Raises:
        PreflightError: the cached log-probs are not this model's.
    """
    tolerance = LOSS_TOLERANCE[dtype] * max(1.0, wanted)
    if not abs(loss - wanted) <= tolerance:
        raise PreflightError(
            f"the first {algorithm.name} loss must be {wanted:.6f} within {tolerance:.1e}, got {loss:.6f}: the "
            "reference log-probs were not computed with this model"
        )
    if not log_ratio_nats <= LOG_RATIO_TOLERANCE_NATS[dtype]:
        raise PreflightError(
            f"the policy's log-probs must equal the cached reference log-probs within "
            f"{LOG_RATIO_TOLERANCE_NATS[dtype]} nats before the first step, got a mean difference of "
            f"{log_ratio_nats:.4f}"
        )
    return {"loss": loss, "expected_loss": wanted, "log_ratio_nats": log_ratio_nats}


def _check_bos(rows: Dataset, name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    bos = tokenizer.bos_token_id
    if bos is None or bos == tokenizer.eos_token_id:
        return  # nothing to count: no BOS, or one that also ends texts
    first, second = _nth(rows, "prompt_ids", 0), _nth(rows, "prompt_ids", 1)
    counts = _count(rows, "prompt_ids", bos) + _count(rows, name, bos)
    per_turn = tokenizer.chat_template is not None and (
        tokenizer.apply_chat_template(PROBE, tokenize=False).count(tokenizer.bos_token) > 1
    )
    # a template that opens every turn with its BOS has several by design; then only doubling at the start is wrong
    wrong = (first != bos) | (second == bos if per_turn else counts != 1)
    if wrong.any():
        raise PreflightError(
            f"examples must begin with exactly one BOS ({tokenizer.bos_token!r}), got {int(wrong.sum())} of "
            f"{len(rows)} that do not, one with {int(counts[wrong][0])}"
        )


def _check_end(
    rows: Dataset, name: str, truncated: np.ndarray, tokenizer: PreTrainedTokenizerBase, *, end: int | None
) -> None:
    missing = (_count(rows, name, end) == 0) & ~truncated
    if missing.any():
        raise PreflightError(
            f"completions must train their end token ({tokenizer.convert_ids_to_tokens(end)!r}), got "
            f"{int(missing.sum())} of {len(rows)} {name} without one: the policy would not learn to stop"
        )


def _check_prompts(rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        batch = rows[start : start + ROWS_AT_ONCE]
        if not all(isinstance(prompt, list) for prompt in batch["prompt"]):
            raise PreflightError(
                "plain text prompts are trained without the chat template that scoring uses: give conversational "
                "records, or say rendering: plain in preferences to accept that"
            )
        scored = tokenizer.apply_chat_template(batch["prompt"], add_generation_prompt=True, return_dict=True)
        for ours, theirs in zip(batch["prompt_ids"], scored["input_ids"], strict=True):
            if list(theirs) != ours:
                raise PreflightError(
                    f"training and scoring must see the same prompt, got {tokenizer.decode(ours)!r} in training and "
                    f"{tokenizer.decode(theirs)!r} in scoring: the chat template renders a prompt alone differently "
                    "from a prompt with its answer"
                )


def _cut(rows: Dataset, name: str, max_length: int) -> np.ndarray:
    """Which completions are truncated."""
    return np.asarray(_lengths(rows, "prompt_ids") + _lengths(rows, name) > max_length)


def _flat(rows: Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A list column as (values, offsets [rows + 1])."""
    column = rows.data.column(name).combine_chunks()
    offsets = column.offsets.to_numpy()
    return column.values.to_numpy()[offsets[0] : offsets[-1]], offsets - offsets[0]


def _lengths(rows: Dataset, name: str) -> np.ndarray:
    return np.diff(_flat(rows, name)[1])


def _count(rows: Dataset, name: str, token: int | None) -> np.ndarray:
    values, offsets = _flat(rows, name)
    running = np.concatenate([[0], np.cumsum(values == token)])
    return running[offsets[1:]] - running[offsets[:-1]]


def _nth(rows: Dataset, name: str, position: int) -> np.ndarray:
    """The `position`-th token of each row, -1 where a row is shorter."""
    values, offsets = _flat(rows, name)
    there = np.diff(offsets) > position
    found = np.full(len(there), -1)
    found[there] = values[offsets[:-1][there] + position]
    return found
