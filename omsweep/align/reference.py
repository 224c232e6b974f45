"""The reference's log-probs of prepared examples: scored where runs read them, kept as they are done.

They lie in files beside the tokens, each of some rows. An example is scored in a pass of its own: its numbers then
depend on nothing but the example, whatever else is asked for, in what order and by how many processes. (In a batch
they differ in the last bits with what they are padded to.) What TRL's trainers compute is asked of TRL.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from datasets import Dataset, load_from_disk
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from omsweep.align.algorithms import ALGORITHMS
from omsweep.align.arguments import shared_arguments, trainer_arguments
from omsweep.align.isolation import isolated_training
from omsweep.align.order import Reading, rows_read
from omsweep.align.trainer import TRAINERS, completion_positions_only
from omsweep.cache.lock import locked
from omsweep.quiet import without_warnings

SUMMARY_FILE = "summary.json"
FOLDER = "reference"
COLUMNS = {"paired": ("ref_chosen_logps", "ref_rejected_logps"), "unpaired": ("ref_logps", "ref_KL_logps")}
SCORED = np.dtype([("row", "<i8"), ("first", "<f4"), ("second", "<f4")])
"""A row of the prepared data and its log-probs in nats, in the order of `COLUMNS`."""
FILE_SECONDS = 20
"""Work between two files: what a kill costs at most."""


def open_prepared(data: Path) -> Dataset:
    """Prepared data with the log-probs that are known; NaN where a row was not scored yet."""
    rows = load_from_disk(data)
    known = _known(data)
    for name, field in zip(COLUMNS[_summary(data)["data_kind"]], ("first", "second"), strict=True):
        column = np.full(len(rows), np.nan, dtype=np.float32)
        column[known["row"]] = known[field]
        rows = rows.add_column(name, column)
    return rows


def score_reference(
    data: Path,
    readings: Sequence[Reading] | None,
    *,
    model: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    part: int = 0,
    parts: int = 1,
    progress: Any,
) -> int:
    """Score what the readings read and nobody has scored; a second process that wants the same part waits.

    Args:
        data: folder from `prepare_data`.
        readings: what runs read; None for every row.
        model: loads the SFT model; called where something is missing.
        tokenizer: the one that the data were made with.
        part, parts: of the rows that are read, this is every `parts`-th from the `part`-th on: one process each.
        progress: a tqdm-like class.

    Returns:
        How many rows were scored.
    """
    rows = load_from_disk(data)
    wanted = np.arange(len(rows)) if readings is None else rows_read(len(rows), readings)
    (data / FOLDER).mkdir(exist_ok=True)
    with locked(data / FOLDER / f"{part}-of-{parts}.lock", f"scores the reference of {data.name}"):
        missing = np.setdiff1d(wanted[part::parts], _known(data)["row"])
        if len(missing) == 0:
            return 0
        bar = progress(total=len(missing), desc="reference log-probs")
        try:
            _write(data, _scored(data, rows, missing, model(), tokenizer), bar)
        finally:
            bar.close()
    return len(missing)


def _scored(
    data: Path, rows: Dataset, wanted: np.ndarray, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[int, float, float]]:
    """Rows and their log-probs, one after another; the longest come first, so that lack of memory shows at once."""
    summary = _summary(data)
    algorithm = next(one for one in ALGORITHMS.values() if one.data_kind == summary["data_kind"])
    with (
        isolated_training(model),
        completion_positions_only(),
        without_warnings(FutureWarning, "`is_gradient_checkpointing`"),  # trl 1.16 asks for it
        tempfile.TemporaryDirectory() as scratch,
    ):
        arguments = shared_arguments(
            output_dir=Path(scratch),
            per_device_batch_size=2,  # kto's trainer takes no less, and it is not used
            max_length=summary["max_length"],
        )
        trainer = TRAINERS[algorithm.data_kind](
            model=model,
            args=trainer_arguments(algorithm, beta=1.0, **arguments),
            train_dataset=rows,
            processing_class=tokenizer,
        )
        tokens = rows.select_columns([name for name in rows.column_names if name != "prompt"])
        lengths = [sum(len(ids) for ids in row.values() if isinstance(ids, list)) for row in tokens.select(wanted)]
        for row in wanted[np.argsort(lengths, kind="stable")[::-1]].tolist():
            batch = trainer._prepare_inputs(trainer.data_collator([tokens[row]]))
            first, second = trainer.compute_ref_log_probs(trainer.model, batch)
            yield row, first.item(), second.item()


def _write(data: Path, scored: Iterable[tuple[int, float, float]], bar: Any) -> None:
    done: list[tuple[int, float, float]] = []
    since = time.monotonic()
    for one in scored:
        done.append(one)
        bar.update(1)
        if time.monotonic() - since >= FILE_SECONDS:
            _keep(data, done)
            done, since = [], time.monotonic()
    if done:
        _keep(data, done)


def _keep(data: Path, scored: list[tuple[int, float, float]]) -> None:
    """A new file that appears whole or not at all."""
    name = uuid4().hex
    partial = data / FOLDER / f"{name}.partial"
    with partial.open("wb") as file:
        np.save(file, np.array(scored, dtype=SCORED))
    partial.rename(partial.with_suffix(".npy"))


def _known(data: Path) -> np.ndarray:
    """Every row that was scored, `SCORED [rows]`."""
    files = sorted((data / FOLDER).glob("*.npy"))
    return np.concatenate([np.zeros(0, dtype=SCORED), *(np.load(file) for file in files)])


def _summary(data: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((data / SUMMARY_FILE).read_text())
    return summary
