"""What one training run needs to know; plain values, checked, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omsweep.align.algorithms import algorithm_named
from omsweep.align.order import Reading
from omsweep.merging.methods import METHODS

if TYPE_CHECKING:
    from omsweep.optim.settings import OnlineMerge

LR_SCHEDULERS = ("constant", "constant_with_warmup", "linear", "cosine")
DTYPES = ("float32", "bfloat16")
MATCHES = ("none", "share")
FORMER_MATCH = "displacement"
"""What files called `share` before."""
SHARDINGS = ("ddp", "fsdp2")
WHOLE = "whole"
"""Name of the file that a checkpoint's folder holds once every worker has written its part."""
KTO_WEIGHTS = ("desirable_weight", "undesirable_weight")
AT_LEAST_ZERO = ("seed", "warmup_steps", "max_grad_norm", "weight_decay", "checkpoint_every", "nll_weight")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings of one training run.

    Attributes:
        algorithm: a name in `ALGORITHMS`.
        learning_rate: AdamW-equivalent rate; with `match="share"` the rate that is applied is this over the
            retained share (see `omsweep.align.pilot`).
        beta: strength of the pull to the reference (IPO: its tau).
        steps: optimizer steps.
        batch_size: examples (pairs, or single completions for kto) per step over all workers.
        seed: fixes batch order and dropout; merging masks have their own seed in `merge`.
        merge: the online merging method.
        nll_weight: weight of the chosen answers' mean negative log-likelihood per token beside the loss; 0 for none.
            Not for kto, whose answers are not paired.
        desirable_weight, undesirable_weight: factors on kto's loss of completions labelled true, and false; 1 with the
            others.
        replay_share: share of the examples of each step that are SFT data in place of pairs, trained by their answers'
            likelihood; rounded to whole examples. Not for kto, whose batches are prepared as they are.
        lora_rank: rank of LoRA adapters that are trained in place of the weights and merged into them at the end; 0
            trains the weights. Only with `merge` AdamW: adapters have no task vector.
        lora_alpha: what an adapter adds to its weights is `lora_alpha / lora_rank` B A.
        lr_scheduler: as transformers calls it: `constant`, `constant_with_warmup`, `linear` or `cosine`.
        warmup_steps: steps of linear warm-up from 0, for all schedulers but `constant`.
        max_grad_norm: gradient clipping, 0 for none.
        weight_decay: decoupled, on the parameters the transformers Trainer decays.
        dtype: dtype of the weights.
        max_length: tokens per example; longer ones lose their end.
        checkpoint_every: steps between checkpoints, 0 for none.
        workers: processes that share a batch.
        gradient_accumulation_steps: forward and backward passes per step, each over
            `batch_size / (workers * gradient_accumulation_steps)` examples of a worker.
        gradient_checkpointing: keep layer inputs only and compute the rest again in the backward pass.
        sharding: `ddp`: every worker holds weights, gradients and moments whole; `fsdp2`: a part of each, from two
            workers on.
        match: `share` scales the learning rate, `none` does not; that of adapters is never scaled.

    Raises:
        ValueError: a value is outside its range; the message holds name, range and value.
    """

    algorithm: str
    learning_rate: float
    beta: float
    steps: int
    batch_size: int
    merge: "OnlineMerge"
    nll_weight: float = 0.0
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    replay_share: float = 0.0
    lora_rank: int = 0
    lora_alpha: float = 16.0
    seed: int = 0
    lr_scheduler: str = "constant"
    warmup_steps: int = 0
    max_grad_norm: float = 1.0
    weight_decay: float = 0.0
    dtype: str = "float32"
    max_length: int = 1024
    checkpoint_every: int = 0
    workers: int = 1
    gradient_accumulation_steps: int = 1
    gradient_checkpointing: bool = False
    sharding: str = "ddp"
    match: str = "none"

    def __post_init__(self) -> None:
        algorithm = algorithm_named(self.algorithm)
        for name in ("learning_rate", "beta", "lora_alpha", *KTO_WEIGHTS):
            _require(getattr(self, name) > 0, name, "positive", getattr(self, name))
        for name in ("steps", "batch_size", "workers", "gradient_accumulation_steps"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in (*AT_LEAST_ZERO, "lora_rank"):
            _require(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        _require(self.max_length >= 2, "max_length", "at least 2", self.max_length)
        choices = {"lr_scheduler": LR_SCHEDULERS, "dtype": DTYPES, "sharding": SHARDINGS, "match": MATCHES}
        for name, allowed in choices.items():
            _require(getattr(self, name) in allowed, name, f"one of {', '.join(allowed)}", getattr(self, name))
        if self.lr_scheduler == "constant" and self.warmup_steps:
            raise ValueError(
                f"warmup_steps must be 0 with lr_scheduler constant, got {self.warmup_steps}: use constant_with_warmup"
            )
        if self.sharded and self.workers == 1:
            raise ValueError("workers must be at least 2 with sharding fsdp2, got 1: one worker has nothing to share")
        if self.nll_weight and algorithm.data_kind == "unpaired":
            raise ValueError(
                f"nll_weight must be 0 with {algorithm.name}, got {self.nll_weight}: it takes pairs, with dpo or ipo"
            )
        for name in KTO_WEIGHTS if algorithm.data_kind == "paired" else ():
            _require(getattr(self, name) == 1, name, f"1 with {algorithm.name} (they are kto's)", getattr(self, name))
        self._check_adapters()
        self._check_replay()
        per_device_batch(
            batch_size=self.batch_size,
            workers=self.workers,
            gradient_accumulation_steps=self.gradient_accumulation_steps,
            unpaired=algorithm.data_kind == "unpaired",
        )

    def _check_adapters(self) -> None:
        if self.lora_rank and not METHODS[self.merge.method].is_plain:
            raise ValueError(
                f"lora_rank must be 0 with method {self.merge.method}, got {self.lora_rank}: online merging is of"
                " weights, and adapters are other parameters, without task vector or SFT values; use method adamw"
            )
        if self.lora_rank and self.sharded:
            raise ValueError(f"lora_rank must be 0 with sharding fsdp2, got {self.lora_rank}: use sharding ddp")

    def _check_replay(self) -> None:
        _require(0 <= self.replay_share < 1, "replay_share", "in [0, 1)", self.replay_share)
        if not self.replay_share:
            return
        if self.algorithm == "kto":
            raise ValueError(
                f"replay_share must be 0 with kto, got {self.replay_share}: its batches are prepared for the KL term"
            )
        if not 0 < self.replayed < self.batch_size:
            raise ValueError(
                f"replay_share must leave examples of both kinds among {self.batch_size}, got {self.replay_share}"
            )
        if self.replayed % self.passes:
            raise ValueError(
                f"replay_share must be of examples that divide by workers x gradient_accumulation_steps"
                f" ({self.passes}), got {self.replay_share} of batch_size {self.batch_size}: {self.replayed} examples"
            )

    @property
    def replayed(self) -> int:
        """SFT examples among the `batch_size` of a step."""
        return round(self.replay_share * self.batch_size)

    @property
    def pairs_read(self) -> Reading:
        """How the run goes through its preference data."""
        unpaired = algorithm_named(self.algorithm).data_kind == "unpaired"
        examples = self.steps * (self.batch_size - self.replayed)
        return Reading(seed=self.seed, examples=examples, group=self.per_device_batch_size if unpaired else 1)

    @property
    def replay_read(self) -> Reading:
        """How the run goes through the SFT data that it replays."""
        return Reading(seed=self.seed, examples=self.steps * self.replayed)

    @property
    def passes(self) -> int:
        """Forward and backward passes of a step, all workers together."""
        return self.workers * self.gradient_accumulation_steps

    @property
    def sharded(self) -> bool:
        """Whether each worker holds only a part of every parameter."""
        return self.sharding == "fsdp2"

    @property
    def per_device_batch_size(self) -> int:
        """Examples of a worker in one forward pass."""
        return self.batch_size // self.passes


def train_settings_from(content: Mapping[str, Any]) -> TrainSettings:
    """Settings from plain data, `merge` too: fields of `TrainSettings` and `OnlineMerge`; raises ValueError."""
    from omsweep.optim.settings import OnlineMerge

    merge = dict(content["merge"])
    if isinstance(merge.get("alpha"), list):  # by parameter name, as JSON keeps it
        merge["alpha"] = tuple((pattern, weight) for pattern, weight in merge["alpha"])
    return TrainSettings(**{**content, "merge": OnlineMerge(**merge)})


def per_device_batch(*, batch_size: int, workers: int, gradient_accumulation_steps: int = 1, unpaired: bool) -> int:
    """`batch_size / (workers * gradient_accumulation_steps)`, the examples of a worker in one forward pass.

    Raises:
        ValueError: it does not divide, or is below 2 where KTO needs other completions.
    """
    parts = workers * gradient_accumulation_steps
    numbers = f"{workers} x {gradient_accumulation_steps}"
    if batch_size % parts != 0:
        raise ValueError(
            f"batch_size must be divisible by workers x gradient_accumulation_steps ({numbers}), got {batch_size}"
        )
    if unpaired and batch_size // parts < 2:
        raise ValueError(
            f"batch_size must give kto at least 2 examples per worker and pass (its KL term pairs a prompt with "
            f"another example's completion), got {batch_size} over {numbers}"
        )
    return batch_size // parts


def allowed_matches(given: object) -> str:
    """What a file may say for `match`, as a message goes on after "must be"."""
    if given == FORMER_MATCH:
        return (
            f"share (the new name of {FORMER_MATCH}: what is matched is the share of an update that is kept, not how"
            " far a run ends) or none"
        )
    return f"one of {', '.join(MATCHES)}"


def _require(holds: bool, name: str, allowed: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def known_share(merge: "OnlineMerge") -> float | None:
    """The retained share where it follows from the settings (in expectation), else None: then a pilot measures it."""
    settings, sparsifier = merge.resolved(), METHODS[merge.method].sparsifier
    if sparsifier == "all" or settings.density == 1.0 or settings.rescale == "norm":
        return 1.0
    if sparsifier in ("random", "ranked") and settings.rescale == "inverse":
        return 1.0
    return settings.density if sparsifier == "random" else None
