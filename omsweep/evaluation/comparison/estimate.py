"""A mean over few repeated units and how sure it is, by Student's t."""

import math
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate with its t distribution.

    Args:
        value: in its own unit.
        standard_error: in the same unit; NaN when nothing was repeated.
        degrees_of_freedom: of the t distribution, above 0; NaN when nothing was repeated.
        outermost: the factor over which the interval is taken, such as `sft_seed`; None when nothing was repeated.
        units: number of this factor's levels, 0 without one.
    """

    value: float
    standard_error: float
    degrees_of_freedom: float
    outermost: str | None
    units: int

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Two-sided t interval, value -+ t quantile x standard error; infinite when nothing was repeated.

        Raises:
            ValueError: a level out of (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be in (0, 1), got {level}")
        if not math.isfinite(self.standard_error):
            return -math.inf, math.inf
        half = float(stdtrit(self.degrees_of_freedom, (1 + level) / 2)) * self.standard_error
        return self.value - half, self.value + half

    @property
    def p_value(self) -> float:
        """Two-sided p-value of `value == 0`; 1 where units that do not differ, or a single one, can show nothing."""
        if not self.standard_error > 0:
            return 1.0
        return float(2 * stdtr(self.degrees_of_freedom, -abs(self.value) / self.standard_error))
