"""What the processes of a sweep do: plain functions that are sent to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omsweep.trial.merge import PointScorer, rescore
from omsweep.trial.prepare.family import prepare_family
from omsweep.trial.prepare.reference import score_references
from omsweep.trial.session import run_session


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work of a sweep; tests of sweeping give stand-ins that take milliseconds.

    Attributes:
        prepare: makes one SFT model ready (`omsweep.trial.prepare.family.prepare_family`).
        reference: scores a part of what its trials read by the SFT model
            (`omsweep.trial.prepare.reference.score_references`).
        session: trains, saves and scores one trial (`omsweep.trial.session.run_session`); under backend `train` it is
            the real one.
        points: from a trained trial to what makes and scores its post-hoc trials (`omsweep.trial.merge.PointScorer`).
        rescore: scores a finished trial's policy on another split (`omsweep.trial.merge.rescore`).
    """

    prepare: Callable[..., Any] = prepare_family
    reference: Callable[..., Any] = score_references
    session: Callable[..., Any] = run_session
    points: Callable[..., Any] = PointScorer
    rescore: Callable[..., Any] = rescore
