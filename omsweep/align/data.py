"""Tokenised preferences, made once and shared by all trials.

TRL's own trainers tokenise, so formats and truncation are TRL's. The folder is a `datasets.save_to_disk` data set plus
`summary.json`; `omsweep.align.reference` adds the reference's log-probs.
"""

import json
import logging
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch.distributed
import trl
from datasets import Dataset, load_from_disk
from transformers import AutoConfig, PreTrainedTokenizerBase
from trl import unpair_preference_dataset
from trl.data_utils import is_conversational

from omsweep.align.algorithms import algorithm_named
from omsweep.align.arguments import shared_arguments, trainer_arguments
from omsweep.align.isolation import isolated_training
from omsweep.align.order import example_order
from omsweep.align.reference import SUMMARY_FILE
from omsweep.align.settings import per_device_batch
from omsweep.align.template import tokenizer_hash
from omsweep.align.trainer import PAIRED_COLUMNS, PREPARERS, UNPAIRED_COLUMNS
from omsweep.cache import RECIPE_FILE, build_once, recipe_hash
from omsweep.families.load import find, load_model, weights_hash
from omsweep.foreign import calling
from omsweep.quiet import quiet_loggers, without_warnings

FORMAT_VERSION = 2
ORDER_SEED = 0
"""Of the shuffle that fixes kto's batches."""
TOO_LONG_FILE = "too_long.json"


def prepare_data(
    preferences: Path,
    *,
    algorithm: str,
    model_path: str,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int,
    workers: int = 1,
    gradient_accumulation_steps: int = 1,
    max_length: int = 1024,
    dtype: str = "float32",
    revision: str | None = None,
    root: Path | None = None,
) -> Path:
    """Tokenise preference records, once per key.

    The key holds the reference's weights, the records, template and vocabulary, `max_length`, the kind of data, for kto
    the per-device batch size (its KL term pairs each prompt with another completion of the same batch), and dtype. dpo
    and ipo share a folder. kto data are unpaired first and then shuffled, so that batches hold both labels.

    Args:
        preferences: folder from `omsweep.preferences.load.load_preferences`.
        algorithm: a name in `ALGORITHMS`.
        model_path: the SFT model: a folder or hub id; `revision` belongs to it.
        tokenizer: the one that scoring will use.
        batch_size: global; must divide by `workers * gradient_accumulation_steps`.

    Returns:
        The folder. To be called by one process, before a group of workers starts.

    Raises:
        ValueError: unpaired records with a paired loss, prompts that all fill `max_length`.
    """
    assert not (torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1), "call before workers"
    chosen = algorithm_named(algorithm)
    per_device = per_device_batch(
        batch_size=batch_size,
        workers=workers,
        gradient_accumulation_steps=gradient_accumulation_steps,
        unpaired=chosen.data_kind == "unpaired",
    )
    source = json.loads((preferences / RECIPE_FILE).read_text())
    recipe: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "weights": weights_hash(model_path, revision=revision),
        "preferences": recipe_hash(source),
        "tokenizer": tokenizer_hash(tokenizer),
        "max_length": max_length,
        "data_kind": chosen.data_kind,
        "per_device_batch_size": per_device if chosen.data_kind == "unpaired" else None,
        "order_seed": ORDER_SEED,
        "dtype": dtype,
        "trl": trl.__version__,
    }

    def build(folder: Path) -> None:
        model = load_model(model_path, revision=revision, dtype=dtype)
        with isolated_training(model), tempfile.TemporaryDirectory() as scratch:
            records = load_from_disk(preferences, keep_in_memory=True)
            lost = too_long(
                preferences,
                model_path=model_path,
                revision=revision,
                tokenizer=tokenizer,
                max_length=max_length,
                root=root,
            )
            kept = fitting(records, lost, max_length=max_length)
            rows = training_records(kept, kind=chosen.data_kind, rendering=source["rendering"], tokenizer=tokenizer)
            arguments = trainer_arguments(
                chosen,
                beta=1.0,
                **shared_arguments(output_dir=Path(scratch), per_device_batch_size=per_device, max_length=max_length),
            )
            with without_warnings(FutureWarning, "`is_gradient_checkpointing`"):  # trl 1.16 asks for it
                prepared = PREPARERS[chosen.data_kind](
                    model=model, args=arguments, train_dataset=rows, processing_class=tokenizer
                ).train_dataset
            columns = PAIRED_COLUMNS if chosen.data_kind == "paired" else UNPAIRED_COLUMNS
            assert len(prepared) == len(rows), "records that are too long were taken out before"
            named = [name for name in (*columns, "prompt") if name in prepared.column_names]
            prepared.select_columns(named).save_to_disk(folder)
        summary = {"records": len(records), "dropped": len(lost), "rendering": source["rendering"]}
        (folder / SUMMARY_FILE).write_text(json.dumps(recipe | summary, indent=2) + "\n")

    return build_once("prepared", recipe, build, root=root)


def too_long(
    preferences: Path,
    *,
    model_path: str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    revision: str | None = None,
    root: Path | None = None,
) -> list[int]:
    """Numbers of the records whose prompt alone fills `max_length` or the model's context: no answer is left to train.

    TRL drops those that fill `max_length` without a word. Counted once per records, tokenizer and length. Raises
    ValueError for a prompt that the chat template refuses.
    """
    config = AutoConfig.from_pretrained(find(model_path, revision=revision)[0], local_files_only=True)
    max_length = min(max_length, getattr(config.get_text_config(), "max_position_embeddings", None) or max_length)
    source = json.loads((preferences / RECIPE_FILE).read_text())
    recipe = {"preferences": recipe_hash(source), "tokenizer": tokenizer_hash(tokenizer), "max_length": max_length}

    def build(folder: Path) -> None:
        records = load_from_disk(preferences, keep_in_memory=True).select_columns(["record", "prompt"])
        # it would warn of the first text that is longer than its model's context
        with quiet_loggers("transformers.tokenization_utils_base", level=logging.ERROR):
            lengths = [(row["record"], _prompt_tokens(row, source["rendering"], tokenizer)) for row in records]
        found = [number for number, length in lengths if length >= max_length]
        (folder / TOO_LONG_FILE).write_text(json.dumps(found) + "\n")

    numbers: list[int] = json.loads((build_once("too_long", recipe, build, root=root) / TOO_LONG_FILE).read_text())
    return numbers


def _prompt_tokens(row: Mapping[str, Any], rendering: str, tokenizer: PreTrainedTokenizerBase) -> int:
    prompt = row["prompt"]
    if isinstance(prompt, str) and rendering == "chat" and tokenizer.chat_template is not None:
        prompt = as_messages({"prompt": prompt})["prompt"]
    if isinstance(prompt, str):
        return len(tokenizer(prompt)["input_ids"])
    with calling(f"render the prompt of record {row['record']} with the chat template"):
        return len(tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"])


def fitting(records: Dataset, lost: Collection[int], *, max_length: int) -> Dataset:
    """The records but the lost ones; ValueError where none is left, or of labelled ones one label alone."""
    gone = set(lost)
    kept = records.select([place for place, number in enumerate(records["record"]) if number not in gone])
    if len(kept) == 0:
        raise ValueError(f"max_length must leave room after the prompts, got {max_length}: no prompt is shorter")
    if "label" in kept.column_names and len(set(kept["label"])) == 1:
        raise ValueError(
            f"kto needs completions with both labels, and those whose prompt leaves room in max_length {max_length} all"
            f" have the label {str(kept['label'][0]).lower()}"
        )
    return kept


def training_records(records: Dataset, *, kind: str, rendering: str, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Records of the wanted kind, in TRL's explicit-prompt format, shuffled; ValueError if they cannot be had."""
    paired = "chosen" in records.column_names
    if kind == "paired" and not paired:
        raise ValueError("dpo and ipo need paired preferences, got unpaired ones; kto takes those")
    if rendering == "chat" and tokenizer.chat_template is not None and not is_conversational(records[0]):
        records = records.map(as_messages, remove_columns=records.column_names)
    if kind == "unpaired" and paired:
        records = unpair_preference_dataset(records)
    return records.select(example_order(len(records), wanted=len(records), seed=ORDER_SEED))


def as_messages(record: dict[str, Any]) -> dict[str, Any]:
    """A plain text record as one user and one assistant message per text."""
    messages: dict[str, Any] = {"prompt": [{"role": "user", "content": record["prompt"].strip()}]}
    if "label" in record:
        messages["label"] = record["label"]
    for name in ("chosen", "rejected", "completion"):
        if name in record:
            messages[name] = [{"role": "assistant", "content": record[name].strip()}]
    return messages
