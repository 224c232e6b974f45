"""Where a front's line runs and which part of the plane a plot shows; points are (tax, reward), tax to the right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from omsweep.pareto.dominance import front
from omsweep.results.numbers import Z95
from omsweep.results.objectives import Objectives
from omsweep.results.view import SweepView
from omsweep.store.records import TrialRecord

MARGIN = 0.07

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One trial in the plane, with half-widths of its error bars (0 where no error is known)."""

    trial: TrialRecord
    tax: float
    reward: float
    tax_error: float
    reward_error: float
    on_front: bool


@dataclass(frozen=True, kw_only=True)
class Window:
    """The shown part of the plane; `beyond` trials lie past the reference tax and outside of it."""

    tax: tuple[float, float]
    reward: tuple[float, float]
    beyond: int


def marks(view: SweepView, family: str) -> list[Mark]:
    """The scored trials of a family."""
    trials = view.scored(family)
    errors = view.objectives.standard_errors(trials)
    return [
        Mark(
            trial=trial,
            tax=getattr(trial, view.objectives.tax.name),
            reward=getattr(trial, view.objectives.reward.name),
            tax_error=_half_width(tax_error),
            reward_error=_half_width(reward_error),
            on_front=trial.trial_id in view.member_ids,
        )
        for trial, (tax_error, reward_error) in zip(trials, errors, strict=True)
    ]


def front_line(shown: Iterable[Mark]) -> list[Point]:
    """The points of the front of some trials, the SFT model at (0, 0) among them where no trial beats it."""
    points = [(0.0, 0.0), *((mark.tax, mark.reward) for mark in shown)]
    mask = front([(tax, -reward) for tax, reward in points])
    return [point for point, on in zip(points, mask, strict=True) if on]


def paths(shown: Sequence[Mark]) -> list[list[Point]]:
    """For every policy that was merged back towards the SFT model: from there through the merges to the policy.

    Merges that only interpolate count (method `linear`), in the order of their weights; paths that reach the front
    come first.
    """
    by_id = {mark.trial.trial_id: mark for mark in shown}
    merges: dict[str, list[tuple[float, Mark]]] = {}
    for mark in shown:
        point = mark.trial.params.get("posthoc") or {}
        if point.get("method") == "linear" and mark.trial.parent in by_id:
            merges.setdefault(mark.trial.parent, []).append((float(point.get("weight", 0.0)), mark))
    found = []
    for parent, some in merges.items():
        ordered = [*(mark for _, mark in sorted(some, key=lambda one: one[0])), by_id[parent]]
        places = [(0.0, 0.0), *((mark.tax, mark.reward) for mark in ordered)]
        found.append((not any(mark.on_front for mark in ordered), places))
    return [places for _, places in sorted(found, key=lambda one: one[0])]


def staircase(members: Sequence[Point]) -> list[Point]:
    """Corners of the front's line through its members: along the least tax reached so far, then up."""
    corners: list[Point] = []
    for tax, reward in sorted(set(members)):
        if corners:
            corners.append((tax, corners[-1][1]))
        corners.append((tax, reward))
    return corners


def dominated_area(members: Sequence[Point], objectives: Objectives) -> list[Point]:
    """Outline of the area the hypervolume counts, empty when no member is better than the reference in both."""
    tax_limit, reward_limit = objectives.reference_tax, objectives.reference_reward
    inside = [(tax, reward) for tax, reward in members if tax < tax_limit and reward > reward_limit]
    if not inside:
        return []
    line = staircase(inside)
    return [(line[0][0], reward_limit), *line, (tax_limit, line[-1][1]), (tax_limit, reward_limit)]


def window(shown: Sequence[Mark], objectives: Objectives) -> Window:
    """A window around the SFT model and the trials, no further than the reference tax if any trial is within it."""
    within = [mark for mark in shown if mark.tax <= objectives.reference_tax] or list(shown)
    taxes = [0.0] + [edge for m in within for edge in (m.tax - m.tax_error, m.tax + m.tax_error)]
    rewards = [0.0] + [edge for m in within for edge in (m.reward - m.reward_error, m.reward + m.reward_error)]
    tax, reward = padded(taxes), padded(rewards)
    beyond = sum(not (tax[0] <= m.tax <= tax[1] and reward[0] <= m.reward <= reward[1]) for m in shown)
    return Window(tax=tax, reward=reward, beyond=beyond)


def padded(values: Sequence[float]) -> tuple[float, float]:
    """The range of values with a margin on both sides."""
    low, high = min(values), max(values)
    pad = MARGIN * (high - low) or 1.0
    return low - pad, high + pad


def _half_width(standard_error: float) -> float:
    return Z95 * float(standard_error) if standard_error == standard_error else 0.0  # NaN is unknown
