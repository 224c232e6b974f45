"""What runs the parts of a sweep, as the driver asks for it; `omsweep.engine.on_ray` is the one that users have."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from omsweep.plan.attempts import Attempts, TrialQueue
from omsweep.store.folder import SweepFolder
from omsweep.store.records import Prepared, TrialRecord, TrialSpec

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

    def train(self, queue: TrialQueue, models: Models, folder: SweepFolder) -> None:
        """Run the queue's jobs until it is finished."""

    def merge(self, jobs: Sequence[MergeJob], attempts: Attempts) -> None:
        """Make and score post-hoc trials."""

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[tuple[ScoreJob, Mapping[str, Any] | str]]:
        """The numbers of each job as they come, or one line that says why there are none."""
