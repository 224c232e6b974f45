"""The tax measures that pick out losses, read on other items than those that picked them; numpy and scipy only.

The mean of max(0, d) over categories and the largest d are biased upwards: among categories that lose nothing, some
seem to. Here one half of the items says which categories lost, or which lost most, and the other half how much,
averaged over every way to halve them: cross-fitting, or the double estimator of van Hasselt (NIPS 2010). Without any
loss the mean is 0, and where losses are far from 0 and from each other it is what was lost. In between it is too low:
the mean of max(0, d) by at most 0.24 standard errors of a category, the largest d by up to about 0.9, where others
lose one or two standard errors less.

With d normal, halves of the items read d + w and d - w with w ~ N(0, se^2), independent of each other, so that the
average over halves has a closed form. The two halves also give two independent readings of the measure itself, each
from half the items: a quarter of the mean squared difference is its variance (balanced half-samples, McCarthy 1969).
The delta method and the jackknife overstate it near 0, where the slope is random. Categories are taken as independent.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

Floats = NDArray[np.float64]

_Z = np.linspace(-5.0, 5.0, 61)
_WEIGHTS = np.exp(-(_Z**2) / 2) / np.exp(-(_Z**2) / 2).sum()
_HALVES = 6  # 2^6 pairs of half-samples
_LEAST = 1e-9  # of a standard error, in points: nothing is divided by 0


def regressed(losses: ArrayLike, errors: ArrayLike) -> tuple[float, float]:
    """Mean over categories of what was lost, gains counted as 0, and its standard error; both NaN where one is.

    Args:
        losses: of the categories in points, positive = lost, [C].
        errors: their standard errors, [C].
    """
    d, se = _arrays(losses, errors)
    pairs = _regressed(d[:, None] + se[:, None] * _Z, se[:, None] * np.sqrt(2))
    variance = ((pairs - pairs[:, ::-1]) ** 2 @ _WEIGHTS) / 4
    return float(_regressed(d, se).mean()), float(np.sqrt(variance.sum()) / len(d))


def worst(losses: ArrayLike, errors: ArrayLike) -> tuple[float, float]:
    """Loss of the category that lost most, negative when all gained, and its standard error; as `regressed`."""
    d, se = _arrays(losses, errors)
    if not np.isfinite(se).all() or not np.isfinite(d).all():
        return np.nan, np.nan
    draws = ndtri(qmc.Sobol(len(d), scramble=True, rng=0).random_base2(_HALVES)) * se
    apart = _worst(d + draws, se * np.sqrt(2)) - _worst(d - draws, se * np.sqrt(2))
    return float(_worst(d[None], se)[0]), float(np.sqrt((apart**2).mean()) / 2)


def _arrays(losses: ArrayLike, errors: ArrayLike) -> tuple[Floats, Floats]:
    return np.asarray(losses, dtype=np.float64), np.maximum(np.asarray(errors, dtype=np.float64), _LEAST)


def _regressed(d: Floats, se: Floats) -> Floats:
    """E[(d - w) where d + w > 0], w ~ N(0, se^2): d Phi(d/se) - se phi(d/se)."""
    read: Floats = d * ndtr(d / se) - se * np.exp(-((d / se) ** 2) / 2) / np.sqrt(2 * np.pi)
    return read


def _worst(d: Floats, se: Floats) -> Floats:
    """E[d_c - w_c of the c with the largest d_c + w_c] by quadrature over w_c, [R] of d [R, C] and se [C]."""
    picked = d[:, :, None] + se[:, None] * _Z
    chance = np.broadcast_to(_WEIGHTS, picked.shape).copy()
    for other in range(d.shape[1]):
        below = ndtr((picked - d[:, other, None, None]) / se[other])
        below[:, other] = 1.0
        chance *= below
    read = d[:, :, None] - se[:, None] * _Z
    means: Floats = (chance * read).sum(axis=(1, 2)) / chance.sum(axis=(1, 2))
    return means
