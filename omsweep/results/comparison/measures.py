"""What is compared between arms, in one block: reward within a budget of tax or KL, and the area attained.

Everything is chosen on the search split and read on the report split, which is never looked at while choosing: an arm
with more candidates chooses better but is not read with more luck. Shapes: K candidates, the SFT model among them; R
readings of the report split (all items, and each group left out); columns `READINGS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from omsweep.pareto import front, hypervolumes
from omsweep.results.comparison.points import READINGS, Floats

REWARD, TAX, KL = (READINGS.index(name) for name in ("reward", "tax", "kl"))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Budgets at which arms are compared.

    Args:
        tax: t of "reward at tax <= t", points, at least 0 (the SFT model must stay within it).
        kl: of "reward at KL <= kl", nats per completion, at least 0.
        reference_tax: the tax up to which area counts, points, above 0.
        reference_reward: the reward from which area counts, scorer units, at most 0.

    Raises:
        ValueError: a budget out of range.
    """

    tax: float
    kl: float = 0.0
    reference_tax: float
    reference_reward: float = 0.0

    def __post_init__(self) -> None:
        ranges = {"tax": self.tax >= 0, "kl": self.kl >= 0, "reference_tax": self.reference_tax > 0}
        for name, inside in {**ranges, "reference_reward": self.reference_reward <= 0}.items():
            if not inside:
                raise ValueError(f"the SFT model (0, 0) must lie within {name}, got {getattr(self, name)}")


def selected(search: Floats, cost: int, limit: float) -> int:
    """Index of the candidate with the most reward among those with `search[:, cost] <= limit`; of equals the cheapest.

    Args:
        search: [K, 3], finite in the reward and the cost.
        cost: column, `TAX` or `KL`.
        limit: in the unit of the cost.

    Raises:
        ValueError: no candidate is within the limit (the SFT model always is, for a limit of at least 0).
    """
    within = np.flatnonzero(search[:, cost] <= limit)
    if len(within) == 0:
        raise ValueError(f"no candidate has {READINGS[cost]} <= {limit}: is the SFT model among them?")
    return int(within[np.lexsort((search[within, cost], -search[within, REWARD]))[0]])


def reward_at_tax(search: Floats, report: Floats, limits: Limits) -> Floats:
    """Reward on the report split of the candidate selected at tax <= t on the search split, [R]."""
    return report[:, selected(search, TAX, limits.tax), REWARD]


def reward_at_kl(search: Floats, report: Floats, limits: Limits) -> Floats:
    """Reward on the report split of the candidate selected at KL <= kl on the search split, [R]."""
    return report[:, selected(search, KL, limits.kl), REWARD]


def attainment_area(search: Floats, report: Floats, limits: Limits) -> Floats:
    """Area that the front of the search split dominates with its numbers on the report split, [R].

    Its mean over blocks is the integral of the arm's attainment function (`omsweep.pareto.attainment`).
    """
    members = front(np.stack([search[:, TAX], -search[:, REWARD]], axis=1))
    losses = np.stack([report[:, members, TAX], -report[:, members, REWARD]], axis=2)
    return hypervolumes(losses, (limits.reference_tax, -limits.reference_reward))


@dataclass(frozen=True)
class Measure:
    """A number of an arm in a block, more is better: (search [K, 3], report [R, K, 3], limits) -> [R]."""

    name: str
    title: str
    unit: str
    reads: tuple[int, ...]
    read: Callable[[Floats, Floats, Limits], Floats]


def _of_run(column: int) -> Callable[[Floats, Floats, Limits], Floats]:
    """What a run reads on the report split, nothing chosen; the SFT model's reading where it diverged."""
    return lambda search, report, limits: report[:, 0, column]


RUN_MEASURES = (
    Measure("run_reward", "Reward", "scorer units", (REWARD,), _of_run(REWARD)),
    Measure("run_tax", "Tax", "points", (TAX,), _of_run(TAX)),
    Measure("run_kl", "KL", "nats per completion", (KL,), _of_run(KL)),
)
"""Plain readings of two runs; of tax and KL less is better."""

MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("reward_at_tax", "Reward at tax <= t", "scorer units", (REWARD, TAX), reward_at_tax),
        Measure("attainment_area", "Attainment area", "scorer units x points", (REWARD, TAX), attainment_area),
        Measure("reward_at_kl", "Reward at matched KL", "scorer units", (REWARD, KL), reward_at_kl),
    )
}
