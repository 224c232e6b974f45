"""What a trial is, what it starts from and how it ended: frozen, typed records that cross processes and land on disk.

A field is declared once, here: its name, its type and, in a `Shown` beside it, its unit, the better direction, its
title, and which of MLflow, `front.json` and the page's table of trials show it. None is a number that does not exist
(never NaN). Imports neither torch nor Ray.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from omsweep.strict_json import plain

VERSION: Literal[1] = 1
"""Of `TrialSpec` and `Prepared`; raise it with a change that an older worker could not read."""

Kind = Literal["trained", "posthoc"]
State = Literal["completed", "stopped", "diverged", "failed"]
Part = Literal["whole", "train", "score"]
"""What of a trial a job does: all, up to its policy, which is kept, or what follows."""
TRAINED = "trained"
"""Why an attempt ended that did its part: the trial is trained, and waits for another that scores it."""
TaskVector = Literal["real", "permuted", "rotated", "flipped", "other_seed"]
KINDS: tuple[str, ...] = Kind.__args__  # type: ignore[attr-defined]
STATES: tuple[str, ...] = State.__args__  # type: ignore[attr-defined]
TASK_VECTORS: tuple[str, ...] = TaskVector.__args__  # type: ignore[attr-defined]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a field means and where it goes.

    Attributes:
        unit: of a number; empty for names and texts.
        direction: which way is better; None for a number that is neither.
        title: how tables call it; default the field's name in words.
        meaning: one line for people.
        digits: after the point in tables.
        objective: which objective it can be.
        standard_error: the field with its item noise.
        twin_of: the field of the search split that this one repeats on the report split.
        mlflow: `metric`, `metrics` (a mapping of numbers), `tag`, or None for neither.
        front: whether the front's members carry it in `front.json`.
        table: whether the page's table of trials has a column of outcomes for it.
    """

    unit: str = ""
    direction: Literal["maximise", "minimise"] | None = None
    title: str = ""
    meaning: str = ""
    digits: int = 2
    objective: Literal["reward", "tax"] | None = None
    standard_error: str | None = None
    twin_of: str | None = None
    mlflow: Literal["metric", "metrics", "tag"] | None = None
    front: bool = False
    table: bool = False


TAG = Shown(mlflow="tag")
NAME = Shown(mlflow="tag", front=True)
NUMBERS = Shown(mlflow="metrics")
Number = float | None
Numbers = Mapping[str, float | None]


def check_file_name(what: str, value: Any) -> None:
    """Refuse what cannot name a file in every storage; ValueError naming `what` and the value."""
    if not is_file_name(value):
        raise ValueError(
            f"{what} must be letters, digits, '.', '_', '+' or '-' and start with a letter or digit, got {value!r}"
        )


def is_file_name(value: Any) -> bool:
    """Whether `value` can name a file in every storage."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


class Record(BaseModel):
    """A frozen record; an unknown field, or a value that does not read as its type, is a ValueError naming it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """The record as a dict that strict JSON accepts, NaN and infinity as None."""
        return {name: plain(getattr(self, name)) for name in type(self).model_fields}

    @classmethod
    def shown(cls) -> Iterator[tuple[str, Shown]]:
        """Every field with its `Shown`, in order; fields without one are not yielded."""
        for name, field in cls.model_fields.items():
            for entry in field.metadata:
                if isinstance(entry, Shown):
                    yield name, entry


class TrialIdentity(Record):
    """Which trial it is: its place in the design and its settings.

    `dose` is the rung of `design.ladder` that its learning rate was multiplied by, None without a ladder. `params` are
    the settings as they are recorded: knobs, what `train` fixed, of a post-hoc trial also `posthoc`.
    """

    trial_id: str
    kind: Annotated[Kind, NAME] = "trained"
    parent: Annotated[str | None, NAME] = None
    family: Annotated[str, NAME]
    sft_seed: Annotated[int | None, NAME] = None
    block: Annotated[int | None, NAME] = None
    seed: Annotated[int | None, NAME] = None
    dose: Annotated[Number, NAME] = None
    baseline: Annotated[bool | str | None, TAG] = None
    label: Annotated[str | None, NAME] = None
    algorithm: Annotated[str | None, NAME] = None
    method: Annotated[str | None, NAME] = None
    task_vector: Annotated[TaskVector, NAME] = "real"
    params: Annotated[Mapping[str, Any], Shown(front=True)] = Field(default_factory=dict)

    @field_validator("trial_id")
    @classmethod
    def _names_a_file(cls, value: str) -> str:
        check_file_name("trial_id", value)
        return value


class TrialSpec(TrialIdentity):
    """One trial with everything resolved, plain data: what a worker needs beside `Prepared` and a place to write.

    Attributes:
        v: version of this record.
        data: key of its preference data in `Prepared.data`; empty for a post-hoc trial.
        train: settings of its training (`omsweep.align.settings.TrainSettings`); None for a post-hoc trial.
        evaluate: what is measured (`omsweep.evaluation.settings.EvaluateSettings`).
        splits: on which splits, `search` first.
        rungs: where a copy is scored on its way: level, optimizer step, and items of each task and prompts, None for
            all.
        pauses: whether a checkpoint is written there, from which it goes on after a pause.
        point: of a post-hoc trial: method, weight, density and seed (`omsweep.merging.posthoc.PosthocPoint`).
        keep: whether a post-hoc trial's merged weights stay once they are scored.
    """

    v: Literal[1] = VERSION
    data: str = ""
    train: Mapping[str, Any] | None = None
    evaluate: Mapping[str, Any] = Field(default_factory=dict)
    splits: tuple[str, ...] = ("search",)
    rungs: tuple[tuple[int, int, int | None], ...] = ()
    pauses: bool = False
    point: Mapping[str, Any] | None = None
    keep: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that the trial's record shares."""
        return {name: getattr(self, name) for name in TrialIdentity.model_fields}


class Scores(Record):
    """What an evaluation gives, from the search split but for the twins on the report split."""

    reward: Annotated[
        Number,
        Shown(
            unit="scorer units",
            direction="maximise",
            title="Reward gain over the SFT model",
            meaning="mean over prompts of policy minus SFT model",
            objective="reward",
            standard_error="reward_se_items",
            mlflow="metric",
            front=True,
        ),
    ] = None
    reward_se_items: Annotated[Number, Shown(unit="scorer units", mlflow="metric", front=True)] = None
    rewards: Annotated[Numbers, NUMBERS] = Field(default_factory=dict)
    reward_absolute: Annotated[
        Number,
        Shown(
            unit="scorer units",
            title="reward absolute",
            meaning="the policy's own mean score, scorer's unit",
            mlflow="metric",
            table=True,
        ),
    ] = None
    tax: Annotated[
        Number,
        Shown(
            unit="points",
            direction="minimise",
            title="Alignment tax",
            meaning="SFT model minus policy, points",
            objective="tax",
            standard_error="tax_se_items",
            mlflow="metric",
            front=True,
        ),
    ] = None
    tax_se_items: Annotated[Number, Shown(unit="points", mlflow="metric", front=True)] = None
    tax_regressed: Annotated[
        Number,
        Shown(
            unit="points",
            direction="minimise",
            title="Regressed tax",
            meaning="mean over categories of what was lost, gains not counted, corrected for item noise, points",
            objective="tax",
            standard_error="tax_regressed_se_items",
            mlflow="metric",
            front=True,
            table=True,
        ),
    ] = None
    tax_regressed_se_items: Annotated[Number, Shown(unit="points", mlflow="metric", front=True)] = None
    tax_worst: Annotated[
        Number,
        Shown(
            unit="points",
            direction="minimise",
            title="Worst category's tax",
            meaning="largest loss of a category, corrected for item noise, points",
            objective="tax",
            standard_error="tax_worst_se_items",
            mlflow="metric",
            front=True,
            table=True,
        ),
    ] = None
    tax_worst_se_items: Annotated[Number, Shown(unit="points", mlflow="metric", front=True)] = None
    flip_rate: Annotated[
        Number,
        Shown(
            unit="share of items",
            direction="minimise",
            title="Flip rate",
            meaning="share of items right before and wrong after, redrawn answers too",
            digits=3,
            mlflow="metric",
            front=True,
            table=True,
        ),
    ] = None
    benchmark_average: Annotated[
        Number,
        Shown(
            unit="points",
            direction="maximise",
            title="benchmark avg",
            meaning="100 x mean over categories of the policy's score",
            digits=1,
            mlflow="metric",
            table=True,
        ),
    ] = None
    scores: Annotated[Numbers, NUMBERS] = Field(default_factory=dict)
    kl: Annotated[
        Number,
        Shown(
            unit="nats per completion",
            title="KL",
            meaning="nats per completion against the SFT model, summed over the vocabulary at each token",
            mlflow="metric",
            table=True,
        ),
    ] = None
    kl_sampled: Annotated[
        Number,
        Shown(
            unit="nats per completion",
            title="KL sampled",
            meaning="the same from the drawn tokens alone: log policy - log SFT",
            mlflow="metric",
        ),
    ] = None
    length_ratio: Annotated[
        Number,
        Shown(
            unit="ratio",
            title="length ratio",
            meaning="mean length against the SFT model's",
            mlflow="metric",
            table=True,
        ),
    ] = None
    finished_rate: Annotated[
        Number,
        Shown(
            unit="share of answers",
            direction="maximise",
            title="finished",
            meaning="share of drawn answers that ended before the longest length",
            digits=3,
            mlflow="metric",
            table=True,
        ),
    ] = None
    distinct_2: Annotated[
        Number,
        Shown(
            unit="share of bigrams",
            title="distinct-2",
            meaning="distinct over all pairs of neighbouring words in the drawn answers; falls where they repeat",
            digits=3,
            mlflow="metric",
            table=True,
        ),
    ] = None
    refusal_rate: Annotated[
        Number,
        Shown(
            unit="share of answers",
            title="refusals",
            meaning="share of drawn answers that begin with a refusal, by a rule for English",
            digits=3,
            mlflow="metric",
            table=True,
        ),
    ] = None
    reward_report: Annotated[Number, Shown(twin_of="reward", mlflow="metric")] = None
    reward_report_se_items: Annotated[Number, Shown(twin_of="reward_se_items", mlflow="metric")] = None
    tax_report: Annotated[Number, Shown(twin_of="tax", mlflow="metric")] = None
    tax_report_se_items: Annotated[Number, Shown(twin_of="tax_se_items", mlflow="metric")] = None
    tax_regressed_report: Annotated[Number, Shown(twin_of="tax_regressed", mlflow="metric")] = None
    tax_regressed_report_se_items: Annotated[Number, Shown(twin_of="tax_regressed_se_items", mlflow="metric")] = None
    tax_worst_report: Annotated[Number, Shown(twin_of="tax_worst", mlflow="metric")] = None
    tax_worst_report_se_items: Annotated[Number, Shown(twin_of="tax_worst_se_items", mlflow="metric")] = None
    flip_rate_report: Annotated[Number, Shown(twin_of="flip_rate", mlflow="metric")] = None
    kl_report: Annotated[Number, Shown(twin_of="kl", mlflow="metric")] = None


class Ended(Scores):
    """How a trial ended: its state, scores, what training saw, and where its policy is.

    `decoding` is how its answers were made, for tax and reward alike (`omsweep.families.decoding.Decoding`), `backend`
    the server that made them: `name`, `command`, `owned_by` and `version`; None: the model in the trial's process.
    """

    state: Annotated[State, TAG]
    attempts: Annotated[int, TAG] = 1
    learning_rate_applied: Annotated[Number, Shown(mlflow="metric", front=True)] = None
    diagnostics: Annotated[Numbers, NUMBERS] = Field(default_factory=dict)
    merge_active: bool | None = None
    steps: Annotated[int | None, Shown(unit="optimizer steps", mlflow="metric")] = None
    tokens: Annotated[int | None, Shown(unit="tokens", mlflow="metric")] = None
    seconds: Annotated[Numbers, NUMBERS] = Field(default_factory=dict)
    accelerator: Annotated[str | None, TAG] = None
    decoding: Annotated[Mapping[str, Any] | None, TAG] = None
    backend: Annotated[Mapping[str, Any] | None, TAG] = None
    policy_path: Annotated[str | None, Shown(mlflow="tag", front=True)] = None
    weights_hash: Annotated[str | None, TAG] = None
    error: Annotated[str | None, TAG] = None


class Outcome(Ended):
    """What a trial's own process reports at its end; what it has beside `Ended` is not in the record.

    Attributes:
        losses: one per step.
        preflight: what the first batch showed.
        reason: of an attempt that ended without a result, `TRAINED` or a key of `omsweep.plan.attempts.AGAIN`.
        traceback: of what was raised.
    """

    losses: tuple[float | None, ...] = ()
    preflight: Numbers = Field(default_factory=dict)
    reason: str | None = None
    traceback: str | None = None


class TrialRecord(Ended, TrialIdentity):
    """One finished trial, as a line of `trials.jsonl`."""

    mlflow_run_id: str | None = None

    @classmethod
    def of(cls, spec: TrialSpec, outcome: Outcome, mlflow_run_id: str | None = None) -> Self:
        """The record of a trial that ended."""
        ended = {name: getattr(outcome, name) for name in Ended.model_fields}
        return cls(**spec.identity, **ended, mlflow_run_id=mlflow_run_id)

    @classmethod
    def from_json(cls, record: Any) -> Self:
        """The record of one trial object; fields this version does not know are left out with a warning.

        Raises:
            ValueError: no object, or a field that is missing or of another type; the message names it.
        """
        if not isinstance(record, Mapping):
            raise ValueError(f"a trial must be a JSON object, got {record!r:.60}")
        unknown = sorted(set(record) - set(cls.model_fields))
        if unknown:
            warnings.warn(f"trial {record.get('trial_id')}: unknown fields ignored: {', '.join(unknown)}", stacklevel=2)
        try:
            return cls(**{name: value for name, value in record.items() if name in cls.model_fields})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "record"
            raise ValueError(
                f"trial {record.get('trial_id')}: {place}: {first['msg']}, got {first['input']!r:.60}"
            ) from None


class Prepared(Record):
    """What all trials from one SFT model of a family share; paths, hashes and numbers, plain data.

    Attributes:
        base, sft: folders or hub ids, with their revisions.
        gpu_memory_gib: what each process is held to, None for no limit.
        weights_hash: of the SFT model.
        base_hash: of the base where post-hoc points need it.
        chat_template: what training and scoring render with, the family's template arguments set in it.
        decoding: how answers are made (`omsweep.families.decoding.Decoding`).
        task_vectors: kind -> file; empty where no branch uses tau.
        data: key of the preference data -> algorithm -> folder.
        replay: folder of SFT data that are replayed, None where none are.
        contamination: of the preferences and of what is replayed, how much is scored too
            (`omsweep.preferences.contamination.Contamination`).
        records: of the same data, which records were taken and why others were dropped
            (`omsweep.preferences.summary.Summary`).
        reference: the SFT model's own scores on the search split.
        versions: of the libraries of the process that made it ready (`omsweep.provenance.versions`).
        made: by part, whether any of it was made for this driver; the cache had the others. Not kept with the models.
    """

    v: Literal[1] = VERSION
    base: str
    base_revision: str | None = None
    base_hash: str | None = None
    sft: str
    sft_revision: str | None = None
    sft_seed: int = 0
    weights_hash: str
    dtype: str
    chat_template: str | None = None
    decoding: Mapping[str, Any] = Field(default_factory=dict)
    gpu_memory_gib: float | None = None
    task_vectors: Mapping[str, str] = Field(default_factory=dict)
    data: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    replay: str | None = None
    contamination: tuple[Mapping[str, Any], ...] = ()
    records: tuple[Mapping[str, Any], ...] = ()
    reference: Scores = Scores()
    versions: Mapping[str, str | None] = Field(default_factory=dict)
    made: Mapping[str, bool] = Field(default_factory=dict)


TRIAL_FIELDS: tuple[str, ...] = tuple(TrialRecord.model_fields)
SHOWN: Mapping[str, Shown] = dict(TrialRecord.shown())
"""By field of a trial record."""

TWINS: Mapping[str, str] = {shown.twin_of: name for name, shown in SHOWN.items() if shown.twin_of}
"""Field of the search split -> the same on the report split."""


SCORED_NUMBERS: tuple[str, ...] = tuple(
    name
    for name, field in Scores.model_fields.items()
    if field.annotation == Number and name not in TWINS.values() and not name.endswith("_se_items")
)
"""Numbers that every policy gets on the search split, standard errors left out."""


def on_report_split(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of the report split, named as those of the search split, under their names in a trial record."""
    return {twin: numbers.get(name) for name, twin in TWINS.items()}
