"""Tokenised preferences, made once and shared by all trials.

TRL's own trainers tokenise, so formats and truncation are TRL's. The folder is a `datasets.save_to_disk` data set plus
`summary.json`; `omsweep.align.reference` adds the reference's log-probs.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch.distributed
import trl
from datasets import Dataset, load_from_disk
from transformers import PreTrainedTokenizerBase
from trl import unpair_preference_dataset
from trl.data_utils import extract_prompt, is_conversational

from omsweep.align.algorithms import algorithm_named
from omsweep.align.arguments import shared_arguments, trainer_arguments
from omsweep.align.isolation import isolated_training
from omsweep.align.order import example_order
from omsweep.align.reference import SUMMARY_FILE
from omsweep.align.settings import per_device_batch
from omsweep.align.template import tokenizer_hash
from omsweep.align.trainer import PAIRED_COLUMNS, PREPARERS, UNPAIRED_COLUMNS
from omsweep.cache import RECIPE_FILE, build_once, recipe_hash
from omsweep.families.load import load_model, weights_hash
from omsweep.preferences.records import kind_of
from omsweep.quiet import without_warnings

FORMAT_VERSION = 2
ORDER_SEED = 0
"""Of the shuffle that fixes kto's batches."""


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
        ValueError: unpaired records with a paired loss, missing columns, prompts that all fill `max_length`.
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
            rows = training_records(records, kind=chosen.data_kind, rendering=source["rendering"], tokenizer=tokenizer)
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
            kept = [name for name in (*columns, "prompt") if name in prepared.column_names]
            prepared.select_columns(kept).save_to_disk(folder)
        summary = {"records": len(rows), "dropped": len(rows) - len(prepared), "rendering": source["rendering"]}
        (folder / SUMMARY_FILE).write_text(json.dumps(recipe | summary, indent=2) + "\n")

    return build_once("prepared", recipe, build, root=root)


def training_records(records: Dataset, *, kind: str, rendering: str, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Records of the wanted kind, in TRL's explicit-prompt format, shuffled; ValueError if they cannot be had."""
    found = kind_of(records.column_names)
    if kind == "paired" and found == "unpaired":
        raise ValueError(
            "dpo and ipo need paired preferences (prompt, chosen, rejected), got unpaired ones "
            "(prompt, completion, label); kto takes those"
        )
    first = records[0]
    if found == "paired" and isinstance(first["chosen"], list) and not isinstance(first.get("prompt"), list):
        # whole conversations; a prompt given as text beside them repeats their first message
        records = records.remove_columns([name for name in ("prompt",) if name in records.column_names])
    if "prompt" not in records.column_names:
        records = records.map(extract_prompt)
    if rendering == "chat" and tokenizer.chat_template is not None and not is_conversational(records[0]):
        records = records.map(as_messages, remove_columns=records.column_names)
    if kind == "unpaired" and found == "paired":
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
