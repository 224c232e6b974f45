"""What a judge's verdicts in both orders come to: the preference, the judge's liking for a place, and its noise.

Every pair of answers is shown in both orders, each `R` times. With y1 and y2 the mean preference for our answer where
it is shown first and second:

    preference = (y1 + y2) / 2            what a liking for a place adds to y1 it takes from y2
    first      = y1 - y2                  > 0: whatever is shown first is liked better

numpy only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a judge says of each answer, [N] each; NaN where it said nothing that can be used.

    Attributes:
        score: the mean grade, or the preference for our answer in points, 0 to 100.
        first: how much more it liked what was shown first, points; NaN of grades.
        noise: variance of `score` by the judge alone, from repeats; NaN with a single one.
    """

    score: NDArray[np.float64]
    first: NDArray[np.float64]
    noise: NDArray[np.float64]


def compared(shown_first: Sequence[Sequence[float | None]], shown_second: Sequence[Sequence[float | None]]) -> Judged:
    """Of preferences for our answer in [0, 1], `R` repeats for each of N pairs and each order; None: no verdict.

    A pair without a verdict in one of the orders has no score: the other alone would be as biased as the judge.
    """
    first, second = _array(shown_first), _array(shown_second)
    ours_first, ours_second = _mean(first), _mean(second)
    noise = (_variance_of_mean(first) + _variance_of_mean(second)) / 4
    return Judged(
        score=100.0 * (ours_first + ours_second) / 2,
        first=100.0 * (ours_first - ours_second),
        noise=1e4 * np.where(np.isnan(ours_first + ours_second), np.nan, noise),
    )


def graded(grades: Sequence[Sequence[float | None]]) -> Judged:
    """Of `R` grades for each of N answers; None: no grade."""
    found = _array(grades)
    return Judged(score=_mean(found), first=np.full(len(found), np.nan), noise=_variance_of_mean(found))


def place_liking(first: NDArray[np.float64]) -> float:
    """Points by which a judge likes better what is shown first: 20 if that decides every fifth pair; NaN: unknown."""
    known = first[~np.isnan(first)]
    return float(known.mean()) if len(known) else float("nan")


def _array(verdicts: Sequence[Sequence[float | None]]) -> NDArray[np.float64]:
    repeats = max(map(len, verdicts), default=1)
    return np.array(verdicts, dtype=np.float64).reshape(len(verdicts), repeats)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    count = (~np.isnan(values)).sum(axis=1)
    return np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)


def _variance_of_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    count = (~np.isnan(values)).sum(axis=1)
    squares = np.nansum((values - _mean(values)[:, None]) ** 2, axis=1)
    return np.where(count > 1, squares / np.maximum(count * (count - 1), 1), np.nan)
