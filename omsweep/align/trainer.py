"""TRL trainers: two that prepare data, two over prepared data.

`DPOTrainer` and `KTOTrainer` tokenise and compute reference log-probs in their constructors, in two private methods.
A preparing trainer runs the first once; a prepared trainer returns what it is given and loads no reference model. The
tests of this file guard the pinned trl version.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import trl.trainer.utils
from datasets import Dataset
from transformers import Trainer
from trl import DPOTrainer, KTOTrainer

from omsweep.align.algorithms import DataKind
from omsweep.align.replay import parted, replay_loss

PAIRED_COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")
UNPAIRED_COLUMNS = ("prompt_ids", "completion_ids", "KL_completion_ids", "label")
"""What preparing gives; the reference's log-probs come from `omsweep.align.reference`."""


class Silent:
    """A trainer of TRL's that sends no telemetry."""

    def _send_telemetry(self) -> None:
        return None


class Preparing(Silent):
    """A trainer whose `train_dataset` is tokenised after construction; it scores nothing."""

    def _precompute_ref_logps(self, dataset: Dataset, *_arguments: Any) -> Dataset:
        return dataset


class PreparingDPOTrainer(Preparing, DPOTrainer):
    """`trl.DPOTrainer` that prepares pairs."""


class PreparingKTOTrainer(Preparing, KTOTrainer):
    """`trl.KTOTrainer` that prepares single completions."""


class Prepared(Silent):
    """A trainer over prepared data, whose data set holds `columns`; writes no model card."""

    columns: tuple[str, ...]

    def _prepare_dataset(self, dataset: Dataset, *_arguments: Any) -> Dataset:
        missing = [name for name in self.columns if name not in dataset.column_names]
        assert not missing, f"prepared data lack {missing}"
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_arguments: Any) -> Dataset:
        return dataset

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        Trainer._save_checkpoint(self, model, trial)


class PreparedDPOTrainer(Prepared, DPOTrainer):
    """`trl.DPOTrainer` over prepared pairs; a batch may hold replayed SFT examples too, see `omsweep.align.replay`."""

    columns = PAIRED_COLUMNS

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        """The loss of a pass: mean over its examples of the pairs' loss and of the SFT examples' likelihood."""
        pairs, replay = parted(inputs)
        if not replay:
            return DPOTrainer.compute_loss(self, model, inputs, *arguments, **options)
        self._total_train_tokens += int(self.accelerator.gather(replay["attention_mask"].sum()).sum())
        share = len(replay["input_ids"]) / (len(replay["input_ids"]) + len(pairs["input_ids"]) // 2)
        loss = DPOTrainer.compute_loss(self, model, pairs, *arguments, **options)
        return (1 - share) * loss + share * replay_loss(model, replay)


class PreparedKTOTrainer(Prepared, KTOTrainer):
    """`trl.KTOTrainer` over prepared single completions."""

    columns = UNPAIRED_COLUMNS


PREPARERS: Mapping[DataKind, Any] = {"paired": PreparingDPOTrainer, "unpaired": PreparingKTOTrainer}
TRAINERS: Mapping[DataKind, Any] = {"paired": PreparedDPOTrainer, "unpaired": PreparedKTOTrainer}
"""By the data that an algorithm wants; its loss is in `trainer_arguments`."""


@contextmanager
def completion_positions_only() -> Iterator[None]:
    """The LM head inside scores completion tokens only, on CPUs too.

    trl 1.16 projects every position, prompts and padding included, wherever Triton is missing, and masks afterwards;
    the numbers are the same. Measured on the embedded family: 0.8 of the time of a step.
    """
    asked = trl.trainer.utils._use_triton
    trl.trainer.utils._use_triton = lambda _device: True  # this module asks for the choice of positions, nothing else
    try:
        yield
    finally:
        trl.trainer.utils._use_triton = asked
