"""An arm as a curve: reward and tax along the ladder of doses, and on the way back from each dose to the SFT model.

A curve begins at the SFT model (reward 0, tax 0, KL 0) and runs through an arm's policies in the order of dose, or of
weight on a way back; in between it is a cubic that does not overshoot (PCHIP, Fritsch and Carlson 1980). Where on a
curve to stand (the dose that costs a given tax) is chosen on the search split, by means over a family's blocks; what is
found there, reward and tax alike, is read on the report split. Shapes: B blocks of the family, K policies (the SFT
model is the first), G groups of items, J places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from omsweep.results.comparison.clusters import nested_weights
from omsweep.results.comparison.points import REWARD, TAX, Arm, Floats, Points

STEPS = 50
"""Places on a curve between tax 0 and the limit, over which its area is summed."""
NEAR = 0.1
"""Share of a level to either side over which a curve's slope is taken."""
_FINE = 200

Key = tuple[float, float]
"""Dose and weight of a policy."""


@dataclass(frozen=True, kw_only=True)
class Path:
    """A way from the SFT model outwards: `columns` [P] of its policies, and their `positions` [P] (dose, or weight)."""

    columns: tuple[int, ...]
    positions: tuple[float, ...]


@dataclass(frozen=True)
class Place:
    """A place on a curve: the path, by number, and the position on it."""

    path: int
    position: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """An arm in a family.

    Args:
        search: [K, 3] mean over blocks of the readings on the search split.
        report: [B, 1 + G, K, 3] readings on the report split.
        paths: the ways from the SFT model outwards.
        doses: those that every block has a policy of.
        lost: number of blocks without a policy at the lowest dose that is not among them, 0 where all are.
    """

    search: Floats
    report: Floats
    paths: Sequence[Path]
    doses: tuple[float, ...]
    lost: int = 0

    @cached_property
    def _on_search(self) -> list[PchipInterpolator]:
        known = np.nan_to_num(self.search)  # a KL that is not known is not read
        return [PchipInterpolator(path.positions, known[list(path.columns)]) for path in self.paths]

    @cached_property
    def _on_report(self) -> list[PchipInterpolator]:
        known = np.nan_to_num(self.report)
        return [PchipInterpolator(path.positions, known[:, :, list(path.columns)], axis=2) for path in self.paths]

    @cached_property
    def _rising(self) -> list[tuple[Floats, Floats]]:
        """By path positions [F], and readings [F, 3] there on the search split made rising (isotonic regression)."""
        found = []
        for path in self.paths:
            read = np.nan_to_num(self.search[list(path.columns)])
            rising = np.stack([isotonic_regression(column).x for column in read.T], axis=1)
            fine = np.linspace(0.0, path.positions[-1], _FINE + 1)
            found.append((fine, np.asarray(PchipInterpolator(path.positions, rising)(fine))))
        return found

    def reach(self, column: int) -> float:
        """The largest reading on the search split that some path attains; 0 where the arm has no policy."""
        return max((float(rising[-1, column]) for _, rising in self._rising), default=0.0)

    def at(self, levels: Sequence[float] | Floats, column: int) -> list[Place]:
        """The J places where a reading has these levels on the search split.

        A reading that falls with the dose by chance is made rising. Of several paths the one with the most reward is
        taken, or with the least tax where the levels are rewards.

        Raises:
            ValueError: a level beyond `reach`.
        """
        prefer, sign = (TAX, -1.0) if column == REWARD else (REWARD, 1.0)
        best, value = [Place(0, 0.0)] * len(levels), np.full(len(levels), -np.inf)
        for number, (fine, readings) in enumerate(self._rising):
            rising = readings[:, column]
            reached = np.asarray(levels) <= rising[-1] * (1 + 1e-9)
            positions = _inverse(fine, rising, np.minimum(levels, rising[-1]))
            worth = np.where(reached, sign * self._on_search[number](positions)[:, prefer], -np.inf)
            best = [
                Place(number, float(p)) if better else old
                for old, p, better in zip(best, positions, worth > value, strict=True)
            ]
            value = np.maximum(worth, value)
        if not np.isfinite(value).all():
            beyond = np.asarray(levels)[~np.isfinite(value)]
            raise ValueError(f"no path reaches {beyond}, the curve ends at {self.reach(column)}")
        return best

    def searched(self, places: Sequence[Place]) -> Floats:
        """Readings [J, 3] on the search split."""
        return np.stack([self._on_search[place.path](place.position) for place in places])

    def read(self, places: Sequence[Place]) -> Floats:
        """Readings [B, 1 + G, J, 3] on the report split."""
        found = np.empty((*self.report.shape[:2], len(places), 3))
        for number in {place.path for place in places}:
            mine = [i for i, place in enumerate(places) if place.path == number]
            found[:, :, mine] = self._on_report[number](np.array([places[i].position for i in mine]))
        return found

    def read_at(self, level: float, column: int, wanted: int) -> Floats:
        """Reading `wanted` [B, 1 + G] on the report split where `column` has a level above 0.

            wanted - slope x (column - level), both read in the chosen place

        The place was chosen on the search split, so that the report split's reading of `column` there is not quite the
        level: along the curve's slope on the search split, around the place, the rest is made up for.
        """
        read = self.read(self.at([level], column))[:, :, 0]
        ends = [level * (1 - NEAR), min(level * (1 + NEAR), self.reach(column))]
        low, high = self.searched(self.at(ends, column))
        slope = (high[wanted] - low[wanted]) / (ends[1] - ends[0])
        return np.asarray(read[..., wanted] - slope * (read[..., column] - level))

    def area(self, limit: float) -> Floats:
        """Area between the curve and tax = limit, scorer units x points, [B, 1 + G].

            sum over steps of (limit - mean tax of the step) x (rise of the reward), from the SFT model on

        Tax and reward are both the report split's. A place chosen somewhat too far along the curve changes the area
        little: at the end, where it would matter, the width (limit - tax) is near 0.
        """
        read = self.read(self.at(limit * np.arange(STEPS + 1) / STEPS, TAX))
        read = np.concatenate([np.zeros_like(read[:, :, :1]), read], axis=2)
        width = limit - (read[:, :, 1:, TAX] + read[:, :, :-1, TAX]) / 2
        return np.asarray((width * np.diff(read[..., REWARD], axis=2)).sum(axis=2))


def curve_of(points: Points, arm: Arm, family: str) -> Curve:
    """An arm's curve in a family, up to the lowest dose at which some block has no policy (it diverged there)."""
    blocks = points.blocks_of(family)
    by_key = _by_key(points, arm, family)
    doses = sorted(set(points.dose.tolist()))
    least = {d: min((len(rows) for (dose, _), rows in by_key.items() if dose == d), default=0) for d in doses}
    end = min((dose for dose in doses if least[dose] < len(blocks)), default=np.inf)
    kept = sorted(key for key in by_key if key[0] < end)
    rows = [[by_key[key][block] for block in range(len(blocks))] for key in kept]
    sft = np.zeros((len(blocks), 1, points.report.shape[1], 3))
    report = np.concatenate([sft, *([points.report[np.array(rows).T]] if rows else [])], axis=1)
    search = np.concatenate([sft[:, :, 0], *([points.search[np.array(rows).T]] if rows else [])], axis=1)
    weights = block_weights(points, family)
    return Curve(
        search=np.tensordot(weights, search, axes=1),
        report=report.swapaxes(1, 2),
        paths=_paths(kept),
        doses=tuple(dose for dose in doses if dose < end),
        lost=0 if end == np.inf else len(blocks) - least[end],
    )


def block_weights(points: Points, family: str) -> Floats:
    """Weight of each of a family's blocks in a mean over SFT seeds of means over runs, [B]."""
    blocks = points.blocks_of(family)
    return nested_weights([[sft_seed for _, sft_seed, _ in blocks], [run for _, _, run in blocks]])


def _by_key(points: Points, arm: Arm, family: str) -> dict[Key, dict[int, int]]:
    """By dose and weight the row of every block's policy; a shifted policy stands for its run."""
    place = {block: i for i, block in enumerate(points.blocks_of(family))}
    shifted = bool(np.isnan(points.weight[(points.label == arm.label) & (points.grid == arm.grid)]).any())
    wanted = {arm.grid} if shifted else {"", arm.grid}
    found: dict[Key, dict[int, int]] = {}
    for row in np.flatnonzero((points.label == arm.label) & np.isin(points.grid, list(wanted))):
        if points.block[row] in place:
            key = float(points.dose[row]), 1.0 if shifted else float(points.weight[row])
            found.setdefault(key, {})[place[points.block[row]]] = int(row)
    return found


def _paths(kept: Sequence[Key]) -> list[Path]:
    """The ladder of runs, and for every dose with merges the way back from it; columns count from 1, 0 is the SFT."""
    column = {key: i + 1 for i, key in enumerate(kept)}
    by_dose: dict[float, list[float]] = {}
    for dose, weight in kept:
        by_dose.setdefault(dose, []).append(weight)
    if not by_dose:
        return []
    ladder = Path(columns=(0, *(column[dose, 1.0] for dose in by_dose)), positions=(0.0, *by_dose))
    ways = [
        Path(columns=(0, *(column[dose, w] for w in weights)), positions=(0.0, *weights))
        for dose, weights in by_dose.items()
        if len(weights) > 1
    ]
    return [ladder, *ways]


def _inverse(positions: Floats, rising: Floats, levels: Floats) -> Floats:
    """The last position at which `rising` has each level."""
    last = np.append(rising[1:] > rising[:-1], True)  # of equal readings the last
    return np.asarray(np.interp(levels, rising[last], positions[last]))


Curves = Mapping[tuple[str, Arm], Curve]
"""By family and arm."""


def report_track(points: Points, curve: Curve, family: str, limit: float) -> NDArray[np.float64]:
    """(tax, reward) [J, 2] on the report split along a curve up to a limit, mean over blocks: what is drawn."""
    levels = min(limit, curve.reach(TAX)) * np.arange(STEPS + 1) / STEPS
    read = np.tensordot(block_weights(points, family), curve.read(curve.at(levels, TAX))[:, 0], axes=1)
    return np.concatenate([[[0.0, 0.0]], read[:, [TAX, REWARD]]])
