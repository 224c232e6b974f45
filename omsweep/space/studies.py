"""The studies a report can print: which knob's levels are their rows. Plain data."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Study:
    """A table and a figure over the levels of one axis.

    Args:
        name: as `report: {study: ...}` gives it.
        axis: the knob that varies; `label` where the branches are compared.
        also: another knob that fixes the axis (alpha follows from `tau_travel`).
        title: of table and figure.
        log: whether the figure's axis is logarithmic.
    """

    name: str
    axis: str
    also: str | None = None
    title: str
    log: bool = False


STUDIES: Mapping[str, Study] = {
    study.name: study
    for study in (
        Study(name="beta", axis="beta", title="Strength of the reference (beta)", log=True),
        Study(name="alpha", axis="alpha", also="tau_travel", title="Merging weight (alpha)", log=True),
        Study(name="density", axis="density", title="Density of the merged entries", log=True),
        Study(name="gap_steps", axis="gap_steps", title="Gap between merges (gap_steps)", log=True),
        Study(name="algorithms", axis="algorithm", title="Algorithms and methods"),
        Study(name="methods", axis="label", title="Methods and families"),
    )
}
