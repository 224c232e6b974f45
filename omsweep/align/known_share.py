"""The share of AdamW's update that a method keeps, where it follows from the settings. Torch-free."""

from omsweep.merging.methods import METHODS
from omsweep.optim.settings import OnlineMerge


def known_share(merge: OnlineMerge) -> float | None:
    """The retained share where it follows from the settings (in expectation), else None: then a pilot measures it."""
    settings, sparsifier = merge.resolved(), METHODS[merge.method].sparsifier
    if sparsifier == "all" or settings.density == 1.0 or settings.rescale == "norm":
        return 1.0
    if sparsifier in ("random", "ranked") and settings.rescale == "inverse":
        return 1.0
    return settings.density if sparsifier == "random" else None
