"""A trainer callback that checks the first batch, notices divergence and passes on steps and checkpoints."""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import nested_gather
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from omsweep.align.settings import WHOLE

OnStep = Callable[[int, dict[str, float]], bool | None]
OnCheckpoint = Callable[[int, Path], None]
CheckStart = Callable[..., dict[str, float]]  # (*, loss, log_ratio_nats)


@dataclass(kw_only=True, eq=False)
class Watch(TrainerCallback):
    """Passed to one trainer, which must be set as `trainer` before training.

    Attributes:
        beta: of the algorithm.
        check_start: see `omsweep.align.preflight`.
        on_step: called with (step, metrics) after each step; True on every worker: a checkpoint is to follow.
        on_checkpoint: called with (step, folder) when a checkpoint has been written.
        rungs: steps after which `at_rung` is called.
        at_rung: called after `on_step`; False on every worker: training ends there.
        save_at_rungs: whether a checkpoint is written at a rung, before `at_rung` is called.
        preflight: what `check_start` returned, empty after a resume.
        diverged: whether a loss was not finite; training then stops after that step.
        stopped: whether `at_rung` ended training.
        rung_seconds: spent in `at_rung`.
    """

    beta: float
    check_start: CheckStart
    on_step: OnStep | None
    on_checkpoint: OnCheckpoint | None
    rungs: Collection[int] = ()
    at_rung: Callable[[], bool] | None = None
    save_at_rungs: bool = False
    trainer: Any = None
    preflight: dict[str, float] = field(default_factory=dict)
    diverged: bool = False
    stopped: bool = False
    rung_seconds: float = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """After a resume, go on counting tokens where the checkpoint stopped."""
        self.trainer._total_train_tokens = tokens_of(state)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Check the first batch, after its backward pass and before the weights move."""
        if state.global_step == 0:
            loss = nested_gather(self.trainer._tr_loss, args.parallel_mode).mean().item()
            self.preflight = self.check_start(loss=loss, log_ratio_nats=first_log_ratio(self.trainer, self.beta))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Pass the step on, and save where that is asked for; stop when its loss is not finite."""
        if logs is None or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            self.diverged = True
            control.should_training_stop = True
        if self.on_step is not None and self.on_step(state.global_step, dict(logs)):
            control.should_save = True
        if self._is_rung(state) and self.save_at_rungs:
            control.should_save = True
        elif self._is_rung(state):
            self._reach(control)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Mark a checkpoint folder as whole and pass it on, once every worker has written its part."""
        folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        self.trainer.accelerator.wait_for_everyone()
        if self.trainer.accelerator.is_main_process:
            (folder / WHOLE).touch()
        if self.on_checkpoint is not None:
            self.on_checkpoint(state.global_step, folder)
        if self._is_rung(state) and self.save_at_rungs:
            self._reach(control)

    def _is_rung(self, state: TrainerState) -> bool:
        return self.at_rung is not None and not self.diverged and state.global_step in self.rungs

    def _reach(self, control: TrainerControl) -> None:
        assert self.at_rung is not None
        began = time.perf_counter()
        self.stopped = not self.at_rung()
        self.rung_seconds += time.perf_counter() - began
        control.should_training_stop |= self.stopped


def losses_of(state: TrainerState) -> list[float]:
    """Loss of each step, in order."""
    return [float(entry["loss"]) for entry in state.log_history if "loss" in entry]


def tokens_of(state: TrainerState) -> int:
    """Tokens trained so far, all workers together."""
    return int(next((entry["num_tokens"] for entry in reversed(state.log_history) if "num_tokens" in entry), 0))


def first_log_ratio(trainer: Trainer, beta: float) -> float:
    """Largest absolute mean of log policy - log reference in the passes of the first step, in nats."""
    metrics = trainer._metrics["train"]
    # .get: TRL divides by the length of every list there is, and a pass of kto may hold one label only
    rewards = [reward for name in ("rewards/chosen", "rewards/rejected") for reward in metrics.get(name, [])]
    return max(abs(reward) for reward in rewards) / beta
