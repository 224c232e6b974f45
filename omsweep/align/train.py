"""One training run: prepared data and a model in, a trained model and its record out."""

import gc
import time
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed
from transformers.trainer_callback import PrinterCallback

from omsweep.align.algorithms import algorithm_named
from omsweep.align.arguments import shared_arguments, trainer_arguments
from omsweep.align.isolation import isolated_training
from omsweep.align.lora import adapter_config, merge_adapters
from omsweep.align.optimizer import OnlineMergeFactory
from omsweep.align.outcome import OnTheWay, TrainOutcome
from omsweep.align.pilot import matched_learning_rate, measured_share
from omsweep.align.preflight import check_data, check_reference, check_start, expected_loss
from omsweep.align.reference import open_prepared
from omsweep.align.replay import MixedCollator, with_replay
from omsweep.align.settings import TrainSettings
from omsweep.align.sharded import check_same_sharding, gather_weights, shard, sharded_arguments
from omsweep.align.trainer import TRAINERS, completion_positions_only
from omsweep.align.watch import OnCheckpoint, OnStep, Watch, losses_of, tokens_of
from omsweep.merging.names import canonical_name
from omsweep.quiet import without_warnings


def train(
    settings: TrainSettings,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Path,
    task_vector: Mapping[str, Tensor] | None,
    output_dir: Path,
    replay: Path | None = None,
    on_step: OnStep | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    resume_from: Path | None = None,
    rungs: Collection[int] = (),
    at_rung: Callable[[OnTheWay], bool] | None = None,
    save_at_rungs: bool = False,
) -> TrainOutcome:
    """Train `model` in place with an online merging optimizer.

    Runs in one process, or in each of `settings.workers` processes of a torch.distributed group (their environment set
    as torchrun or Ray Train do) with the same global batches. Batch order and dropout depend on the seed and the data
    only. Besides weights and device nothing of the process or the model is changed. With `sharding="fsdp2"` a copy is
    trained in shards and its weights gathered into `model`, which may stay on the CPU. With `lora_rank` adapters are
    trained and merged into the weights; `displacement` is then that of the weights, all other diagnostics and the
    weights of checkpoints are the adapters'.

    Args:
        settings: see `TrainSettings`.
        model: holds the SFT weights, also when resuming; in `settings.dtype`.
        tokenizer: the one that scoring uses.
        data: folder from `prepare_data`, made for this model, tokenizer and settings, with the log-probs of what the
            run reads (`omsweep.align.reference`).
        task_vector: canonical parameter name -> SFT minus base, for methods that need it.
        output_dir: where checkpoints go, `checkpoint-<step>` each; the two newest are kept.
        replay: for `replay_share`: folder that `prepare_data` makes of SFT data, see `omsweep.preferences.replay`.
        on_step: called with (step, metrics) after each step on every worker; metrics hold at least `loss`,
            `learning_rate` and `num_tokens`. Where it returns True on all of them a checkpoint follows. What it raises
            ends the run.
        on_checkpoint: called with (step, folder) on every worker when a checkpoint has been written.
        resume_from: a checkpoint folder of the same settings; the run continues bit for bit.
        rungs: steps after which `at_rung` is called on every worker; where it returns False on all of them the run
            ends. The run is the same whatever it computes, as long as it leaves random states as they are.
        save_at_rungs: write a checkpoint at each rung first, from which a run that ended there goes on.

    Returns:
        The outcome, equal on all workers but for `seconds`.

    Raises:
        PreflightError: data, template or reference do not belong to this model.
        ValueError: another number of processes than `workers`, or a checkpoint of another `sharding`.
    """
    began = time.perf_counter()
    algorithm = algorithm_named(settings.algorithm)
    _check_workers(settings.workers)
    rows, examples = open_prepared(data), None
    preflight = check_data(data, rows, settings=settings, algorithm=algorithm, tokenizer=tokenizer)
    if settings.replayed:
        if replay is None:
            raise ValueError(f"replay_share {settings.replay_share} needs prepared SFT data, and no replay is given")
        examples = open_prepared(replay)
        check_data(replay, examples, settings=settings, algorithm=algorithm, tokenizer=tokenizer)
    if resume_from is not None:
        check_same_sharding(resume_from, sharded=settings.sharded)
    rows = _ordered(settings, rows, examples)
    check_reference(rows, algorithm=algorithm)
    wanted = expected_loss(rows.select(range(settings.batch_size)), settings=settings, algorithm=algorithm)
    watch = Watch(
        beta=settings.beta,
        check_start=partial(check_start, algorithm=algorithm, wanted=wanted, dtype=settings.dtype),
        on_step=on_step,
        on_checkpoint=on_checkpoint,
    )
    build = partial(_trainer, settings, rows=rows, tokenizer=tokenizer, output_dir=output_dir)
    with isolated_training(model), completion_positions_only():
        checked = time.perf_counter()
        learning_rate = _applied_learning_rate(settings, lambda: build(model=deepcopy(model)))
        piloted = time.perf_counter()
        trainer = build(model=deepcopy(model) if settings.sharded else model, watch=watch)
        started = time.perf_counter()
        if at_rung is not None:
            watch.rungs, watch.save_at_rungs = rungs, save_at_rungs
            watch.at_rung = lambda: at_rung(_on_the_way(settings, trainer, since=started + watch.rung_seconds))
        try:
            outcome = _run(
                settings,
                trainer,
                model=model,
                task_vector=task_vector,
                learning_rate=learning_rate,
                preflight=preflight,
                watch=watch,
                resume_from=resume_from,
            )
        finally:
            if settings.lora_rank:
                trainer.model.unload()  # the same modules and parameters again, with the values they have now
        watch.trainer = watch.at_rung = trainer = None  # so that leaving the block frees the optimizer's state
    seconds = {"start": checked - began + started - piloted, "pilot": piloted - checked}
    return replace(outcome, seconds=seconds | outcome.seconds)


def _run(
    settings: TrainSettings,
    trainer: Any,
    *,
    model: PreTrainedModel,
    task_vector: Mapping[str, Tensor] | None,
    learning_rate: float,
    preflight: dict[str, float],
    watch: Watch,
    resume_from: Path | None,
) -> TrainOutcome:
    began = time.perf_counter()
    set_seed(settings.seed)
    trainer.optimizer_cls_and_kwargs = (
        OnlineMergeFactory,
        {
            "merge": settings.merge,
            "task_vector": None if settings.lora_rank else task_vector,
            "reference": _weights(model, kept=settings.sharded) if settings.merge.resolved().needs_reference else None,
            "decays": trainer.get_decay_parameter_names,
            "lr": learning_rate,
            "weight_decay": settings.weight_decay,
        },
    )
    trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    if settings.sharded:
        gather_weights(trainer.model, model)
    diagnostics = trainer.optimizer.optimizer.diagnostics()
    if settings.lora_rank:
        diagnostics |= {"displacement": merge_adapters(trainer.model)}
    finite = all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
    return TrainOutcome(
        state="diverged" if watch.diverged or not finite else "stopped" if watch.stopped else "completed",
        steps=trainer.state.global_step,
        tokens=tokens_of(trainer.state),
        losses=losses_of(trainer.state),
        diagnostics=diagnostics,
        learning_rate_applied=learning_rate,
        seconds={"train": time.perf_counter() - began - watch.rung_seconds},
        preflight=preflight | watch.preflight,
    )


def _on_the_way(settings: TrainSettings, trainer: Any, *, since: float) -> OnTheWay:
    return OnTheWay(
        step=trainer.state.global_step,
        tokens=tokens_of(trainer.state),
        losses=losses_of(trainer.state),
        diagnostics=trainer.optimizer.optimizer.diagnostics(),
        seconds=time.perf_counter() - since,
        copy_into=partial(_copy_into, settings, trainer),
    )


@torch.no_grad()
def _copy_into(settings: TrainSettings, trainer: Any, model: PreTrainedModel) -> None:
    """Put the weights that are trained, with adapters merged into them, into another model."""
    trained = trainer.model
    if settings.lora_rank:
        trained = deepcopy(trained)
        merge_adapters(trained)
        trained = trained.unload()
    gather_weights(trained, model)


def _ordered(settings: TrainSettings, rows: Dataset, examples: Dataset | None) -> Dataset:
    """The examples that are trained, in order, SFT `examples` among them; fewer steps are the first of more."""
    if examples is not None:
        readings = settings.pairs_read, settings.replay_read
        return with_replay(rows, examples, readings=readings, passes=settings.steps * settings.passes)
    return rows.select(settings.pairs_read.order(len(rows)))


def _trainer(
    settings: TrainSettings,
    *,
    rows: Dataset,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    output_dir: Path,
    watch: Watch | None = None,
) -> Any:
    """The algorithm's trainer over rows in training order, silent but for `watch`."""
    algorithm = algorithm_named(settings.algorithm)
    arguments = trainer_arguments(
        algorithm,
        beta=settings.beta,
        nll_weight=settings.nll_weight,
        kto_weights=(settings.desirable_weight, settings.undesirable_weight),
        **shared_arguments(
            output_dir=output_dir,
            per_device_batch_size=settings.per_device_batch_size,
            max_length=settings.max_length,
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            lr_scheduler=settings.lr_scheduler,
            warmup_steps=settings.warmup_steps,
            max_grad_norm=settings.max_grad_norm,
            weight_decay=settings.weight_decay,
            checkpoint_every=settings.checkpoint_every,
            gradient_accumulation_steps=settings.gradient_accumulation_steps,
            gradient_checkpointing=settings.gradient_checkpointing,
            seed=settings.seed,
        ),
        **(sharded_arguments() if settings.sharded else {}),
        **({"remove_unused_columns": False} if settings.replayed else {}),
    )
    adapters = None
    if settings.lora_rank:
        set_seed(settings.seed)
        adapters = adapter_config(rank=settings.lora_rank, alpha=settings.lora_alpha)
    with without_warnings(FutureWarning, "`is_gradient_checkpointing`"):  # peft 0.21 asks for it
        trainer = TRAINERS[algorithm.data_kind](
            model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, peft_config=adapters
        )
    if settings.replayed:
        pairs = trainer.data_collator
        trainer.data_collator = MixedCollator(pairs, pairs.pad_token_id, settings.max_length)
    trainer.remove_callback(PrinterCallback)
    if settings.sharded:
        shard(trainer)
    if watch is not None:
        watch.trainer = trainer
        trainer.add_callback(watch)
    return trainer


def _applied_learning_rate(settings: TrainSettings, pilot_trainer: Callable[[], Any]) -> float:
    if settings.match == "none" or settings.lora_rank:
        return settings.learning_rate
    learning_rate = matched_learning_rate(
        settings.learning_rate,
        merge=settings.merge,
        measure=lambda: measured_share(
            pilot_trainer(),
            merge=settings.merge,
            learning_rate=settings.learning_rate,
            max_grad_norm=settings.max_grad_norm,
        ),
    )
    gc.collect()  # the pilot's trainer and its optimizer's state
    return learning_rate


def _weights(model: PreTrainedModel, *, kept: bool) -> dict[str, Tensor]:
    """The weights by canonical name; copies, unless the model keeps them while a copy of it is trained."""
    parameters = ((canonical_name(name), parameter.detach()) for name, parameter in model.named_parameters())
    return {name: parameter if kept else parameter.clone() for name, parameter in parameters}


def _check_workers(workers: int) -> None:
    present = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    if present != workers:
        raise ValueError(f"workers must equal the size of the process group, {present}, got {workers}")
