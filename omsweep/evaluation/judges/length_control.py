"""Win rates against a baseline, raw and at equal length (arXiv:2404.04475); numpy only.

With y the preference for our answer, in [0, 1], d = our characters - the baseline's, and s the standard deviation of d:

    y ~ sigmoid(theta + phi tanh(d / s)),   raw = 100 mean(y),   length-controlled = 100 sigmoid(theta)

The paper's further term, how hard an instruction is for a model of a hub's table, is left out with the table: here the
prompts are one's own. theta and phi are fitted by maximum likelihood with a penalty of `PENALTY` on half their squares,
which keeps them finite where every answer wins; the published package has an L1 penalty chosen by cross-validation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PENALTY = 0.1
LEVEL = 0.9
RESAMPLES = 1000
_STEPS = 25

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A win rate in percent, its standard error and the ends of an interval of `LEVEL`; NaN where nothing tells."""

    rate: float
    standard_error: float
    low: float
    high: float


def win_rate(
    preference: Floats, clusters: Integers | None = None, *, seed: int = 0, resamples: int = RESAMPLES
) -> Rate:
    """100 x the mean preference; its interval from prompts drawn again, whole clusters at a time."""

    def rates(weights: Floats) -> Floats:
        return 100.0 * (weights @ preference) / weights.sum(axis=1)

    return _bootstrapped(rates, len(preference), clusters, seed, resamples)


def length_controlled(
    preference: Floats,
    ours: Floats,
    baseline: Floats,
    clusters: Integers | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Rate:
    """The win rate at equal length; its interval from prompts drawn again, everything fitted anew each time.

    Args:
        preference: for our answers, [N], in [0, 1].
        ours, baseline: characters of both, [N].
        clusters: what belongs together, [N], numbered from 0; None: every row by itself.
        seed: of what is drawn again.
        resamples: how often.
    """
    differences = np.asarray(ours, dtype=np.float64) - baseline

    def rates(weights: Floats) -> Floats:
        return 100.0 * _sigmoid(_fitted(preference, differences, weights)[:, 0])

    return _bootstrapped(rates, len(preference), clusters, seed, resamples)


def length_effect(preference: Floats, ours: Floats, baseline: Floats) -> float:
    """phi: what an answer gains in log-odds by being much longer."""
    differences = np.asarray(ours, dtype=np.float64) - baseline
    return float(_fitted(preference, differences, np.ones((1, len(preference))))[0, 1])


def _fitted(preference: Floats, differences: Floats, weights: Floats) -> Floats:
    """theta and phi, [B, 2], of every row of weights [B, N], by Newton's method."""
    total = weights.sum(axis=1, keepdims=True)
    mean = (weights @ differences)[:, None] / total
    spread = np.sqrt((weights * (differences - mean) ** 2).sum(axis=1, keepdims=True) / np.maximum(total - 1, 1))
    feature = np.tanh(differences / np.where(spread > 0, spread, np.inf))
    found = np.zeros((len(weights), 2))
    for _ in range(_STEPS):
        chance = _sigmoid(found[:, :1] + found[:, 1:] * feature)
        slope = weights * (preference - chance)
        gradient = np.stack([slope.sum(axis=1), (slope * feature).sum(axis=1)], axis=1) - PENALTY * found
        curve = weights * chance * (1 - chance)
        a, b, c = curve.sum(axis=1) + PENALTY, (curve * feature).sum(axis=1), (curve * feature**2).sum(axis=1) + PENALTY
        step = np.stack([c * gradient[:, 0] - b * gradient[:, 1], a * gradient[:, 1] - b * gradient[:, 0]], axis=1)
        step /= (a * c - b * b)[:, None]
        found += np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
    return found


def _bootstrapped(
    rates: Callable[[Floats], Floats], rows: int, clusters: Integers | None, seed: int, resamples: int
) -> Rate:
    clusters = np.arange(rows) if clusters is None else clusters
    if not rows:
        return Rate(rate=np.nan, standard_error=np.nan, low=np.nan, high=np.nan)
    rate = float(rates(np.ones((1, rows)))[0])
    count = int(clusters.max()) + 1
    if count < 2:
        return Rate(rate=rate, standard_error=np.nan, low=np.nan, high=np.nan)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    found = rates(drawn[:, clusters].astype(np.float64))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Rate(rate=rate, standard_error=float(found.std(ddof=1)), low=float(low), high=float(high))


def _sigmoid(x: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -x))
