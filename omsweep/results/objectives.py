"""The two objectives of a sweep, and the one place where what is maximised becomes a loss."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omsweep.store.records import SHOWN, Shown, TrialRecord


@dataclass(frozen=True, kw_only=True)
class Metric(Shown):
    """A number of a trial record that can be an objective: `name` is its field."""

    name: str

    @property
    def sign(self) -> float:
        """Factor that turns a value into a loss."""
        return -1.0 if self.direction == "maximise" else 1.0


METRICS: Mapping[str, Metric] = {
    name: Metric(name=name, **vars(shown)) for name, shown in SHOWN.items() if shown.objective is not None
}
REWARDS = tuple(name for name, metric in METRICS.items() if metric.direction == "maximise")
TAXES = tuple(name for name, metric in METRICS.items() if metric.direction == "minimise")


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """Which metric is the reward, which the tax, and the worst of both that still counts.

    Losses are rows (tax loss, reward loss), both minimised.
    """

    reward: Metric = METRICS["reward"]
    tax: Metric = METRICS["tax"]
    reference_reward: float = 0.0
    reference_tax: float = 20.0

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Objectives":
        """Objectives of a resolved space: `{reward, tax, reference_point: {reward, tax}}`, with defaults.

        Raises:
            ValueError: a metric that is not in `REWARDS` or `TAXES`.
        """
        chosen = {"reward": settings.get("reward", "reward"), "tax": settings.get("tax", "tax")}
        for role, allowed in (("reward", REWARDS), ("tax", TAXES)):
            if chosen[role] not in allowed:
                raise ValueError(f"objectives.{role} must be one of {', '.join(allowed)}, got {chosen[role]!r}")
        reference = settings.get("reference_point") or {}
        return cls(
            reward=METRICS[chosen["reward"]],
            tax=METRICS[chosen["tax"]],
            reference_reward=float(reference.get("reward", 0.0)),
            reference_tax=float(reference.get("tax", 20.0)),
        )

    @property
    def reference_losses(self) -> NDArray[np.float64]:
        """The reference point as losses, [2]."""
        return np.array([self.tax.sign * self.reference_tax, self.reward.sign * self.reference_reward])

    def losses(self, trials: Iterable[TrialRecord]) -> NDArray[np.float64]:
        """Losses [N, 2] of trials; NaN where a number is missing."""
        return _numbers(trials, self.tax.name, self.reward.name) * [self.tax.sign, self.reward.sign]

    def standard_errors(self, trials: Iterable[TrialRecord]) -> NDArray[np.float64]:
        """Item standard errors [N, 2] in the order of `losses`; NaN where none is known."""
        return _numbers(trials, self.tax.standard_error, self.reward.standard_error)


def _numbers(trials: Iterable[TrialRecord], *names: str | None) -> NDArray[np.float64]:
    rows = [[getattr(trial, name) if name else None for name in names] for trial in trials]
    return np.array(rows, dtype=np.float64).reshape(-1, len(names))  # None becomes NaN
