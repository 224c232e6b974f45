"""What is to be made ready for the trials from one SFT model of a family, with everything resolved. Torch-free."""

from dataclasses import dataclass

from omsweep.align.order import Reading
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.families.family import ModelFamily
from omsweep.merging.posthoc import PosthocPoint
from omsweep.preferences.settings import PreferenceData


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What to make ready.

    Attributes:
        family: with the SFT seed of the SFT model.
        other: the same family with another SFT seed, whose task vector is the control `other_seed`; None without it.
        dtype: of the weights in training.
        gpu_memory_gib: what each process is held to, None for no limit.
        evaluate: what is measured.
        splits: on which splits, `search` first.
        rung_limits: items of each task, and prompts, of the search split that trials are scored on at rungs.
        task_vectors: kinds of task vector that some trial merges.
        task_vector_dtype: how they are stored.
        sources: every preference data set that is trained on, with the algorithms that train on it and how their runs
            go through it; None for every row.
        replays: whether SFT data are replayed.
        replay_read: how runs go through them; None for every row.
        replay: which; None for what the embedded family was fine-tuned on.
        batch_size, workers, gradient_accumulation_steps, max_length: as in `train`; KTO's batches are prepared by them.
        base_users: key paths of post-hoc entries that are made of the base too.
        points_by_part: post-hoc points whose weight goes by part of the model, with the key path of their weights.
    """

    family: ModelFamily
    other: ModelFamily | None = None
    dtype: str
    gpu_memory_gib: float | None = None
    evaluate: EvaluateSettings
    splits: tuple[str, ...] = ("search",)
    rung_limits: tuple[int | None, ...] = ()
    task_vectors: tuple[str, ...] = ()
    task_vector_dtype: str = "float32"
    sources: tuple[tuple[PreferenceData, tuple[tuple[str, tuple[Reading, ...] | None], ...]], ...] = ()
    replays: bool = False
    replay_read: tuple[Reading, ...] | None = ()
    replay: PreferenceData | None = None
    batch_size: int
    workers: int
    gradient_accumulation_steps: int
    max_length: int
    base_users: tuple[str, ...] = ()
    points_by_part: tuple[tuple[str, PosthocPoint], ...] = ()
