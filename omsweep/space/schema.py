"""The shape of a search space file: which keys there are, their types, ranges and defaults. Torch-free."""

import hashlib
import itertools
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from omsweep.align.settings import MATCHES, allowed_matches
from omsweep.evaluation.settings import objective_first
from omsweep.families.family import Resources
from omsweep.secrets import SOURCE
from omsweep.store.records import SCORED_NUMBERS

MOST = 1_000_000
"""Upper end of whole numbers that something is done so many times for."""
PositiveInt = Annotated[int, Field(ge=1, le=MOST)]
Count = Annotated[int, Field(ge=0, le=MOST)]
MOST_TRIALS = 100_000
AS_BOOLEAN = "YAML reads yes, no, on, off, true and false as booleans, quote it if it is a word"
Seed = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=100)]
Source = Annotated[str, Field(pattern=SOURCE)]


class Section(BaseModel):
    """A mapping of the file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, given: object, info: ValidationInfo) -> object:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(given, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError(f"no boolean: {AS_BOOLEAN}")
        return given


class Design(Section):
    """Blocked design of `mode: compare`: every method sees the same draws, seeds and data order.

    With `sft_seeds` above 1 the whole of it is run from that many SFT models of each family, with the same draws and
    with training seeds of their own; they are those from `first_sft_seed` on, so that a long sweep can be run in parts.
    `ladder` multiplies a block's learning rate: every method is trained at all of these doses. `cross` names knobs
    every choice of which is run in every block, in place of one choice per block.
    """

    blocks: PositiveInt = 3
    seeds: PositiveInt = 1
    seed: Seed = 0
    sft_seeds: PositiveInt = 1
    first_sft_seed: Count = 0
    ladder: list[Positive] = []
    match: Literal["share", "none"] = "none"
    cross: list[str] = []

    @property
    def sft_range(self) -> range:
        """The SFT seeds the design is run from."""
        return range(self.first_sft_seed, self.first_sft_seed + self.sft_seeds)

    @property
    def names_sft_seeds(self) -> bool:
        """Whether trials and references say their SFT seed: all but a sweep of the first SFT model alone."""
        return self.sft_range != range(1)

    def training_seed(self, sft_seed: int, block: int, repeat: int) -> int:
        """The training seed of all trials in one place of the design, whatever number of places there is: 31 bits.

        So that a design can grow, and be run in parts, without another place's seed changing.
        """
        place = f"{self.seed}/{sft_seed}/{block}/{repeat}"
        return int.from_bytes(hashlib.sha256(place.encode()).digest()[:4], "big") >> 1

    @field_validator("ladder")
    @classmethod
    def _rising(cls, given: list[float]) -> list[float]:
        if any(low >= high for low, high in itertools.pairwise(given)):
            raise ValueError(f"must rise from dose to dose, got {given}")
        return given

    @field_validator("match", mode="before")
    @classmethod
    def _known_match(cls, given: object) -> object:
        if given not in MATCHES:
            raise ValueError(allowed_matches(given))
        return given


class Bound(Section):
    """What a number of a trial must not leave."""

    at_most: Annotated[float, Field(allow_inf_nan=False)] | None = None
    at_least: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.at_most is None and self.at_least is None:
            raise ValueError("at_most or at_least, and is empty")
        if self.at_most is not None and self.at_least is not None and self.at_most < self.at_least:
            raise ValueError(f"at_least a number below at_most, got {self.at_least:g} and {self.at_most:g}")
        return self


class Search(Section):
    """Adaptive search of `mode: search`; `trials` counts everything started, failures too (grid: its points).

    `constraints` bound numbers that a trial scores on the search split; the last `replicates` trials repeat recipes
    with new seeds; finished trials of the sweeps in `warm_start` are known from the start; the results of the family
    `transfer_from` say where those of the others begin.
    """

    algorithm: Literal["tpe", "random", "grid", "nsga2", "gp"] = "tpe"
    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] | None = None
    seed: Seed = 0
    startup_trials: PositiveInt | None = None
    constraints: dict[str, Bound] = {}
    replicates: Annotated[int, Field(ge=0, le=MOST_TRIALS)] = 0
    warm_start: list[str] = []
    transfer_from: str | None = None

    @field_validator("constraints")
    @classmethod
    def _scored(cls, given: dict[str, Bound]) -> dict[str, Bound]:
        unknown = [name for name in given if name not in SCORED_NUMBERS]
        if unknown:
            raise ValueError(f"bounds on {', '.join(SCORED_NUMBERS)}: {unknown[0]!r} is none of them")
        return given

    @property
    def learns(self) -> bool:
        """Whether what it proposes depends on results."""
        return self.algorithm in ("tpe", "nsga2", "gp")

    def training_seed(self, repeat: int) -> int:
        """The training seed of a recipe's trial after `repeat` others, the same for all recipes: 31 bits, or `seed`."""
        if repeat == 0:
            return self.seed
        return int.from_bytes(hashlib.sha256(f"{self.seed}/repeat/{repeat}".encode()).digest()[:4], "big") >> 1


class ReferencePoint(Section):
    """Worst reward and tax that still count for the hypervolume."""

    reward: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    tax: Annotated[float, Field(allow_inf_nan=False)] = 20.0


class Objectives(Section):
    """Which trial fields are the two objectives: reward is maximised, tax minimised."""

    reward: Literal["reward"] = "reward"
    tax: Literal["tax", "tax_regressed", "tax_worst"] = "tax"
    reference_point: ReferencePoint = ReferencePoint()


class Comparison(Section):
    """What a compare sweep is asked: each of `contrasts` names an arm and what it is compared against.

    An arm is a label of `space.method`, or `LABEL + GRID` with a grid of `posthoc`. Arms are compared up to
    `tax_limit`, points, for all families or by family name; the unit is the area of `baseline`, and two arms that
    differ by less than a share `delta` of it count as equivalent (`omsweep.results.comparison`).
    """

    contrasts: Annotated[list[Annotated[list[str], Field(min_length=2, max_length=2)]], Field(min_length=1)]
    tax_limit: Positive | dict[str, Positive]
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.1
    baseline: str = "adamw"


class Scheduler(Section):
    """Early stopping of a search's trials, see docs/stopping.md; without `algorithm` nothing else here counts.

    Rungs lie at `first_rung` x `eta`^k optimizer steps, `items` x `eta`^k items of each task and prompts are scored
    there. `noise` are the standard errors of a paired difference that show that one trial is worse than another.
    """

    algorithm: Literal["none", "moasha", "median"] = "none"
    variant: Literal["stop", "promote"] = "stop"
    first_rung: PositiveInt = 50
    eta: Annotated[int, Field(ge=2, le=MOST)] = 2
    items: Annotated[int, Field(ge=2, le=MOST)] | None = 16
    noise: NonNegative = 1.0
    never_stop: Annotated[float, Field(ge=0, le=1)] = 0.1
    min_correlation: Annotated[float, Field(ge=-1, le=1)] = 0.6
    min_trials: Annotated[int, Field(ge=3, le=MOST)] = 10


class Train(Section):
    """How every trial trains; `batch_size` is global and split over the workers; `dtype: null` is the family's.

    `gradient_accumulation_steps` splits it further; `sharding: fsdp2` gives each worker a part of every parameter;
    `task_vector_dtype` is how tau is stored: bfloat16 halves the file and the memory its pages take.
    Workers do trial after trial; with `reuse_workers: false` each trial has new ones.
    An attempt at a trial that takes longer than `trial_timeout` seconds, start and scoring included, is killed. Where
    nothing runs, a sweep waits `wait_timeout` seconds for nodes.
    """

    steps: PositiveInt = 100
    batch_size: PositiveInt = 32
    workers: PositiveInt = 1
    gradient_accumulation_steps: PositiveInt = 1
    gradient_checkpointing: bool = False
    sharding: Literal["ddp", "fsdp2"] = "ddp"
    backend: Literal["train", "inprocess"] = "train"
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_steps: Count = 0
    max_grad_norm: NonNegative = 1.0
    weight_decay: NonNegative = 0.0
    dtype: Literal["float32", "bfloat16"] | None = None
    task_vector_dtype: Literal["float32", "bfloat16"] = "float32"
    max_length: Annotated[int, Field(ge=8, le=MOST)] = 512
    checkpoint_every: Count = 0
    max_failures: Count = 0
    reuse_workers: bool = True
    trial_timeout: Positive | None = None
    wait_timeout: Positive = 1800.0
    concurrent_trials: PositiveInt | None = None
    resources_per_worker: Resources = Resources()


class Evaluate(Section):
    """What scores the policy: a tax suite and a reward scorer, and further rewards that are recorded beside it.

    `report_split: all` scores every policy on the report split too, which comparisons of arms read; `front` only the
    front's members. Whatever selects reads the search split. With `workers` trials are scored by groups of their own,
    of so many workers, that have `resources_per_worker`.
    """

    tax: str = "tiny"
    reward: str | dict[str, Any] = "tiny"
    rewards: dict[Name, str | dict[str, Any]] = {}
    samples: PositiveInt = 4
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    max_new_tokens: PositiveInt = 64
    batch_size: PositiveInt = 256
    limit: PositiveInt | None = None
    report_split: Literal["front", "all"] = "front"
    allow_suite_code: bool = False
    data_root: str | None = None
    data: dict[str, str] = {}
    tasks: list[str] | None = None
    allow_code_execution: bool = False
    backend: str | dict[str, Any] = "transformers"
    allow_scorer_code: bool = False
    workers: PositiveInt | None = None
    resources_per_worker: Resources = Resources()

    @model_validator(mode="before")
    @classmethod
    def _objective_first(cls, given: Any) -> Any:
        return objective_first(given) if isinstance(given, dict) else given


NOT_MEASURED = ("report_split", "workers", "resources_per_worker")
"""Keys of the `evaluate` section that are none of `EvaluateSettings`: they say where, not what."""


class Posthoc(Section):
    """One grid of post-hoc points: models made after training from a policy, its SFT model and their base.

    `weights`, `densities` and `seeds` span the grid (`omsweep.merging.posthoc`). `of` names the branches whose trials
    get it, default all; `travel_of` a branch: one more weight, what puts a trial as far along tau as that branch goes
    in the block at the same `residual`. Merged weights are deleted once scored unless `keep`.
    """

    method: str
    weights: list[Any] = []
    densities: list[Any] | None = None
    seeds: list[Seed] | None = None
    of: Annotated[list[str], Field(min_length=1)] | None = None
    travel_of: str | None = None
    keep: bool = False


class Report(Section):
    """What the report shows beside the fronts: the table and figure of one study (`omsweep.space.studies`).

    `pilot` is an earlier sweep's folder, or its comparison.json, whose variances say how small an effect the comparison
    can be expected to show.
    """

    study: Literal["beta", "alpha", "density", "gap_steps", "algorithms", "methods"] | None = None
    pilot: str | None = None


class Keep(Section):
    """What of a sweep stays on the disk beside its log, tables and reports.

    `policies: front` keeps those of the front's members and of the policies that such members were merged from, once
    the sweep is complete. `checkpoints: unfinished` removes a trial's training state once it has ended well.
    """

    policies: Literal["all", "front", "none"] = "all"
    checkpoints: Literal["unfinished", "all"] = "unfinished"


class Budget(Section):
    """When a sweep starts no more trials; what was begun is finished (`omsweep.plan.budget`).

    `trials` counts those that were begun; `wall_hours` the time of drivers from when models and data are ready;
    `gpu_hours` the GPUs that attempts hold; `money` these and their CPUs at the two prices, in `currency`, a label.
    """

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] | None = None
    wall_hours: Positive | None = None
    gpu_hours: Positive | None = None
    money: Positive | None = None
    per_gpu_hour: Positive | None = None
    per_cpu_hour: Positive | None = None
    currency: Name | None = None


class Tracking(Section):
    """What MLflow is told beside runs, metrics and the front.

    `log_models: front` makes a LoggedModel of each member of the front when a driver ends, `weights` copies the policy
    into it, `registered_model` adds it as a version of a registered model of that name. With `system_metrics` the
    sweep's run has those of the driver's machine.
    """

    log_models: Literal["front", "none"] = "front"
    weights: bool = False
    registered_model: Name | None = None
    system_metrics: bool = False

    @model_validator(mode="after")
    def _models_to_keep(self) -> Self:
        if self.log_models == "none" and (self.weights or self.registered_model):
            raise ValueError("log_models front, which weights and registered_model need, got none")
        return self


class SpaceFile(Section):
    """A whole search space file, before its `space`, `families` and `preferences` are read.

    `project` is the MLflow experiment that sweeps share; null: the file's `name`. `replay` is the SFT data that
    `replay_share` mixes in; null: what each embedded family was fine-tuned on. `secrets` says where each process finds
    what must not be in the file (`omsweep.secrets`).
    """

    name: Name
    mode: Literal["compare", "search"]
    families: Annotated[list[str | dict[str, Any]], Field(min_length=1)]
    preferences: str | dict[str, Any] = "tiny"
    replay: str | dict[str, Any] | None = None
    space: dict[str, Any]
    design: Design | None = None
    search: Search | None = None
    baselines: dict[str, Any] = {}
    posthoc: dict[Name, Posthoc] = {}
    objectives: Objectives = Objectives()
    comparison: Comparison | None = None
    scheduler: Scheduler = Scheduler()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()
    keep: Keep = Keep()
    budget: Budget = Budget()
    secrets: dict[Variable, Source] = {}
    project: Name | None = None
    tracking: Tracking = Tracking()
