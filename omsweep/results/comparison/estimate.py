"""A mean over few repeated units and how sure it is, by Student's t."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

Part = tuple[float, float]
"""(variance, degrees of freedom) that one factor contributes to the variance of a mean."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate, and the variance of it that each factor contributes.

    Args:
        value: in its own unit.
        parts: (variance, degrees of freedom) of each factor, in the squared unit; empty when nothing was repeated.
        outermost: the factor over which the interval is taken, such as `sft_seed`; None when nothing was repeated.
        units: number of this factor's levels, 0 without one.
    """

    value: float
    parts: tuple[Part, ...]
    outermost: str | None
    units: int

    @property
    def standard_error(self) -> float:
        """Square root of the parts' sum; NaN when nothing was repeated."""
        return math.sqrt(satterthwaite(self.parts)[0]) if self.parts else math.nan

    @property
    def degrees_of_freedom(self) -> float:
        """Satterthwaite's; NaN when nothing was repeated."""
        return satterthwaite(self.parts)[1] if self.parts else math.nan

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Two-sided t interval, value -+ t quantile x standard error; infinite when nothing was repeated.

        Raises:
            ValueError: a level out of (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be in (0, 1), got {level}")
        if not self.parts:
            return -math.inf, math.inf
        half = float(stdtrit(self.degrees_of_freedom, (1 + level) / 2)) * self.standard_error
        return self.value - half, self.value + half

    @property
    def p_value(self) -> float:
        """Two-sided p-value of `value == 0`: the p at which value^2 = sum over parts of variance x t quantile(p)^2.

        Of one part this is Student's test. Of several it is the stricter one of Cochran (1964): Satterthwaite's degrees
        of freedom, right for a 90 % interval, are far too sure at the levels of many comparisons when the variance over
        2 or 3 SFT seeds came out small by chance. 1 where units that do not differ, or a single one, can show nothing.
        """
        parts = [(variance, freedom) for variance, freedom in self.parts if variance > 0]
        if not parts or self.value == 0:
            return 1.0
        if len(parts) == 1:
            return float(2 * stdtr(parts[0][1], -abs(self.value) / math.sqrt(parts[0][0])))

        def excess(log_p: float) -> float:
            tail = math.exp(log_p) / 2
            return sum(v * (float(stdtrit(freedom, tail)) / self.value) ** 2 for v, freedom in parts) - 1

        least = -200.0  # below exp(-200) a p-value is 0
        return math.exp(brentq(excess, least, 0.0)) if excess(least) > 0 else 0.0


def satterthwaite(parts: Sequence[Part]) -> Part:
    """Sum of independent variances and its degrees of freedom, (sum V)^2 / sum(V^2 / df); the least df of zeros."""
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        return 0.0, min(freedom for _, freedom in parts)
    return variance, 1.0 / sum((part / variance) ** 2 / freedom for part, freedom in parts)
