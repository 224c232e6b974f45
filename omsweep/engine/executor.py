"""The parts of a sweep: who runs them for the driver, and the plain functions that its processes are sent.

The executor that users have is `omsweep.engine.on_ray`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from omsweep.plan.attempts import Attempts, TrialQueue
from omsweep.secrets import holding
from omsweep.store.records import Prepared, TrialRecord, TrialSpec
from omsweep.trial.merge import PointScorer, rescore
from omsweep.trial.prepare.family import prepare_family
from omsweep.trial.prepare.reference import score_references
from omsweep.trial.session import run_session

Family = tuple[str, int]
"""A family's name and the seed of its SFT model."""
Ready = Mapping[Family, tuple[Prepared, Any]]
"""Every SFT model of every family with its table of scores."""
Models = Mapping[Family, Prepared]


@dataclass(frozen=True, kw_only=True)
class MergeJob:
    """The post-hoc trials of one parent that are still to be made."""

    parent: TrialRecord
    prepared: Prepared
    folder: str
    specs: Sequence[TrialSpec]


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """A finished trial that is to be scored on another split.

    Attributes:
        trial: of the front.
        parent: what it was merged from, None of a trained one.
        prepared: of its SFT model.
        folder: the sweep's.
        evaluate: fields of `EvaluateSettings`.
        split: on which.
    """

    trial: TrialRecord
    parent: TrialRecord | None
    prepared: Prepared
    folder: Path
    evaluate: Mapping[str, Any]
    split: str


class Executor(Protocol):
    """Runs what the driver decides; nothing here writes the log but through `Attempts` and `TrialQueue`."""

    def prepare(self, specs: Sequence[TrialSpec] | None) -> Ready:
        """Make every SFT model ready; ValueError with the message of what refused."""

    def train(self, queue: TrialQueue, models: Models) -> None:
        """Run the queue's jobs until it is finished."""

    def merge(self, jobs: Sequence[MergeJob], attempts: Attempts) -> None:
        """Make and score post-hoc trials."""

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[tuple[ScoreJob, Mapping[str, Any] | str]]:
        """The numbers of each job as they come, or one line that says why there are none."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work of a sweep; tests of sweeping give stand-ins that take milliseconds.

    Attributes:
        prepare: makes one SFT model ready (`omsweep.trial.prepare.family.prepare_family`).
        reference: scores a part of what its trials read by the SFT model
            (`omsweep.trial.prepare.reference.score_references`).
        session: trains, saves and scores one trial (`omsweep.trial.session.run_session`).
        points: from a trained trial to what makes and scores its post-hoc trials (`omsweep.trial.merge.PointScorer`).
        rescore: scores a finished trial's policy on another split (`omsweep.trial.merge.rescore`).
    """

    prepare: Callable[..., Any] = prepare_family
    reference: Callable[..., Any] = score_references
    session: Callable[..., Any] = run_session
    points: Callable[..., Any] = PointScorer
    rescore: Callable[..., Any] = rescore

    def holding(self, secrets: Mapping[str, str]) -> "Work":
        """The same work, of which each process first takes the secrets on its own node (`omsweep.secrets`)."""
        return Work(
            **{
                one.name: holding(getattr(self, one.name), secrets, f"the process of `{one.name}`")
                for one in fields(self)
            }
        )
