"""The share of AdamW's update that a method keeps, where it follows from the settings. Torch-free."""

from omsweep.optim.settings import OnlineMerge


def known_share(merge: OnlineMerge) -> float | None:
    """The retained share where it follows from the settings (in expectation), else None: then a pilot measures it."""
    settings = merge.resolved()
    if merge.method in ("adamw", "linear", "anchor", "ema") or settings.density == 1.0 or settings.rescale == "norm":
        return 1.0
    if merge.method in ("ondare", "childtuning", "della") and settings.rescale == "inverse":
        return 1.0
    if merge.method in ("ondare", "childtuning"):
        return settings.density
    return None
