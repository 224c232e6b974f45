"""One look for plots, tables and the page: a colour per method, a marker per algorithm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omsweep.results.front import parent_label

INK, MUTED, GRID, EDGE, PAPER = "#1c2430", "#5d6878", "#e6e9ef", "#b9c0cc", "#ffffff"
CAUTION = "#8a4b00"
FRONT_LINE, FRONT_FILL = "#3a4556", "#4a6fa5"
LOSS, GAIN = (204, 85, 0), (0, 104, 168)

BASELINE_COLOUR = "#4b5563"
PALETTE = (
    *("#0072b2", "#d55e00", "#009e73", "#a64d8c", "#c98a00", "#3aa0d8", "#7a5195", "#8c564b"),
    *("#882255", "#7d7d1c", "#332288", "#2b8f80"),
)
"""Okabe and Ito's colours, the lighter ones darkened, which stay apart for colour-blind readers; then some of Tol's."""

PALE, DARK = (231, 238, 247), (8, 48, 107)


@dataclass(frozen=True)
class Marker:
    """One marker in plotly's, matplotlib's and, where the page's legend has it, SVG's words (in a box from -6 to 6)."""

    plotly: str
    matplotlib: str
    path: str = ""


CIRCLE = Marker("circle", "o", "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0Z")
STAR = Marker("star", "*")
CIRCLE_WITH_DOT = Marker("circle-dot", "$\\odot$")
MARKERS = (
    CIRCLE,
    Marker("square", "s", "M-4.5,-4.5H4.5V4.5H-4.5Z"),
    Marker("triangle-up", "^", "M0,-5.5L5.2,4.5H-5.2Z"),
    Marker("diamond", "D", "M0,-5.8L5.8,0L0,5.8L-5.8,0Z"),
    Marker("cross", "P", "M-2,-5.5H2V-2H5.5V2H2V5.5H-2V2H-5.5V-2H-2Z"),
    Marker("triangle-down", "v", "M0,5.5L5.2,-4.5H-5.2Z"),
)


def colours_of(labels: Sequence[str]) -> Mapping[str, str]:
    """A colour per label: grey for the AdamW baseline, then the palette in order (repeating past its end).

    What was merged after training has its parents' colour.
    """
    others = [label for label in dict.fromkeys(map(parent_label, labels)) if label != "adamw"]
    colours = {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(others)}
    return {label: colours.get(parent_label(label), BASELINE_COLOUR) for label in labels}


def markers_of(algorithms: Sequence[str]) -> Mapping[str, Marker]:
    """A marker per algorithm, in order (repeating past the last)."""
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(algorithms)}


def shade(share: float) -> str:
    """A blue from pale (0) to dark (1)."""
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(PALE, DARK, strict=True))
