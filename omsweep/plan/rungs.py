"""Who is best at a rung, and who is beaten there by more than noise. Ray-free, torch-free.

The order of the trials that have reached a rung:

1. trials that keep every constraint, before those that violate one, which come by how much they violate;
2. of these, trials that have learnt (reward above 0 by more than `noise` standard errors) before those that have not,
   which come by reward alone: the SFT model has reward 0 and tax 0, so that a low tax shows nothing without a reward;
3. trials that have learnt by non-dominated sorting; within a front by the area each alone adds to the front's
   hypervolume, largest first;
4. what is still equal in the order of arrival, never by name.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from omsweep.pareto.sorting import contributions, front_numbers
from omsweep.store.state import Rung

TAX, REWARD, VIOLATION, LEARNT, NOISE = 0, 1, 2, 3, 4
"""Columns: both losses, summed violation, 1 for learnt, from `NOISE` on what the items add to both errors."""


class Beaten(NamedTuple):
    """By whom a trial is beaten beyond noise (an index, None for the SFT model), and why in words."""

    by: int | None
    why: str


class Arrivals:
    """The trials that have reached one rung of a family, in that order; `names` are their ids.

    Args:
        noise: standard errors of a paired difference that count as noise.
        reference_point: worst tax and worst -reward that still count.
    """

    def __init__(self, noise: float, reference_point: Sequence[float]) -> None:
        self.names: list[str] = []
        self._noise, self._reference_point = noise, reference_point
        self._rows, self._width = np.empty((0, 0)), 0

    def add(self, name: str, rung: Rung) -> int:
        """One more trial; its index. ValueError where it was scored on other items than the trials before."""
        reward_error = float(np.linalg.norm(rung.reward_noise))
        violation = sum(max(0.0, one) for one in rung.constraints)
        learnt = rung.reward > self._noise * reward_error
        row = [rung.tax, -rung.reward, violation, float(learnt), *rung.tax_noise, *rung.reward_noise]
        index, width = len(self.names), NOISE + len(rung.tax_noise)
        if index and (width, len(row)) != (self._width, self._rows.shape[1]):
            raise ValueError(f"{name} was scored on other items of rung {rung.level} than the trials before it")
        if index == len(self._rows):  # twice the room: no row is copied more than once on average
            self._rows = np.vstack([self._rows.reshape(index, len(row)), np.empty((max(16, index), len(row)))])
        self._rows[index], self._width = row, width
        self.names.append(name)
        return index

    def place(self, index: int) -> int:
        """How many trials come before one in the order of the rung."""
        rows = self._filled
        groups = _groups(rows)
        asked = groups == groups[index]
        if groups[index] == 0:  # what it dominates comes after it and moves nobody before it
            worse = rows[:, :VIOLATION] >= rows[index, :VIOLATION]
            asked &= ~worse.all(axis=1) | (rows[:, :VIOLATION] == rows[index, :VIOLATION]).all(axis=1)
        own = np.flatnonzero(asked)
        at = int(np.searchsorted(own, index))
        before = int((groups < groups[index]).sum())
        if groups[index] == 0:
            losses = rows[own, :VIOLATION]
            fronts = front_numbers(losses)
            same = np.flatnonzero(fronts == fronts[at])
            before += int((fronts < fronts[at]).sum())
            value = -contributions(losses[same], fronts[same], self._reference_point)
            at = int(np.searchsorted(same, at))
        else:
            value = rows[own, _COLUMN[groups[index]]]
        return before + int((value < value[at]).sum() + (value[:at] == value[at]).sum())

    def order(self) -> NDArray[np.int64]:
        """Indices of all trials, the best first."""
        rows = self._filled
        groups = _groups(rows)
        first, second = np.zeros(len(rows)), np.zeros(len(rows))
        for group, column in _COLUMN.items():
            first[groups == group] = rows[groups == group, column]
        losses = rows[groups == 0, :VIOLATION]
        fronts = front_numbers(losses)
        first[groups == 0] = fronts
        second[groups == 0] = -contributions(losses, fronts, self._reference_point)
        return np.lexsort((second, first, groups))

    def beaten(self, index: int) -> Beaten | None:
        """Whether a trial is beaten beyond noise; None where nobody shows that.

        A trial that has learnt is beaten by one that keeps the constraints and has a lower tax and a higher reward,
        each by more than `noise` paired standard errors. Each is a one-sided test, and both must reject (an
        intersection-union test), so that the level against any one rival is at most that of one test: .16 at 1, .05 at
        1.64. A trial that has not learnt is beaten by a reward, the SFT model's 0 or a rival's, that is higher by so
        much. One that violates a constraint is beaten by any that violates none.
        """
        rows = self._filled
        mine, group = rows[index], _groups(rows[index : index + 1])[0]
        feasible = rows[:, VIOLATION] == 0
        if group == 2:
            kept = np.flatnonzero(feasible)
            return Beaten(int(kept[0]), "keeps the constraints, which this one does not") if len(kept) else None
        worse = mine[:VIOLATION] - rows[:, :VIOLATION]
        asked = (TAX, REWARD) if group == 0 else (REWARD,)
        rivals = np.flatnonzero(feasible & (worse[:, asked] > 0).all(axis=1))
        if not len(rivals) and group == 0:
            return None
        parts = slice(NOISE, self._width), slice(self._width, None)
        errors = np.stack([np.linalg.norm(rows[rivals, part] - mine[part], axis=1) for part in parts], axis=1)
        margin = (worse[rivals] - self._noise * errors)[:, asked].min(axis=1)
        if len(rivals) and margin.max() > 0:
            best = int(margin.argmax())
            shown = [
                f"{('tax', 'reward')[i]} by {worse[rivals[best], i]:.3g} (se {errors[best, i]:.2g})" for i in asked
            ]
            return Beaten(int(rivals[best]), f"is better beyond noise, in {' and '.join(shown)}")
        own_error = float(np.linalg.norm(mine[parts[REWARD]]))
        if group == 1 and mine[REWARD] > self._noise * own_error:
            return Beaten(None, f"is better beyond noise, in reward by {mine[REWARD]:.3g} (se {own_error:.2g})")
        return None

    def above_median(self, index: int) -> bool:
        """Whether both losses of a trial are above the medians of all."""
        losses = self._filled[:, :VIOLATION]
        return bool((losses[index] > np.median(losses, axis=0)).all())

    @property
    def _filled(self) -> NDArray[np.float64]:
        return self._rows[: len(self.names)]


def places(rungs: Iterable[Rung], noise: float, reference_point: Sequence[float]) -> NDArray[np.int64]:
    """The place of each of these in their order, 0 the best."""
    arrivals = Arrivals(noise, reference_point)
    for number, rung in enumerate(rungs):
        arrivals.add(str(number), rung)
    return np.argsort(arrivals.order())


def rank_correlation(
    here: Sequence[Rung], there: Sequence[Rung], noise: float, reference_point: Sequence[float]
) -> float | None:
    """Spearman's between the orders of the same trials at two rungs; None for fewer than three."""
    count = len(here)
    if count < 3:
        return None
    apart = places(here, noise, reference_point) - places(there, noise, reference_point)
    return 1.0 - 6.0 * float((apart**2).sum()) / (count * (count**2 - 1))


_COLUMN = {1: REWARD, 2: VIOLATION}
"""What decides in the groups that are not sorted by both objectives."""


def _groups(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """0 for trials that have learnt, 1 for those that have not, 2 for those that violate a constraint."""
    found: NDArray[np.int64] = np.where(rows[:, VIOLATION] > 0, 2, 1 - rows[:, LEARNT].astype(np.int64))
    return found
