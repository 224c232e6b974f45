"""Where the threshold of an update is sought first: it changes little, and steadily, from step to step."""

import math
from typing import NamedTuple

NARROWEST, WIDEST = 0.005, 0.25
"""A threshold is first sought this near the last step's, relative to it, and everywhere if it is not there."""


class Bracket(NamedTuple):
    """Where the threshold of an update is sought first, in units of the learning rate.

    Attributes:
        cut: the last one.
        middle: the next one if it goes on changing at the same rate.
        width: how far aside it is sought, relative to `middle`.
    """

    cut: float
    middle: float
    width: float

    def after(self, cut: float) -> "Bracket":
        """The next one, once the threshold was found; the wider the farther that lay from the middle."""
        if not all(0.0 < value < math.inf for value in (cut, *self[:2])):
            return Bracket(cut, cut, WIDEST)
        missed = abs(cut / self.middle - 1.0)
        return Bracket(cut, cut * cut / self.cut, min(max(3.0 * missed, 0.5 * self.width, NARROWEST), WIDEST))


NOWHERE = Bracket(0.0, 0.0, 0.0)
