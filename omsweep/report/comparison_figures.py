"""What half of an arm's runs attain: by matplotlib for `attainment.png`, by plotly for the page."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from omsweep.report.comparison_tables import lettered
from omsweep.report.figures import LAYOUT, quiet_axis
from omsweep.report.plots import DOTS_PER_INCH, PANEL_INCHES, quiet_axes
from omsweep.report.styles import INK, MUTED, colours_of
from omsweep.results.comparison.findings import ArmFound, Findings
from omsweep.results.geometry import staircase

MARGIN = 0.08
NARROWEST_INCHES, LEGEND_INCHES = 7.2, 2.3
AXES = ("Alignment tax (points), report split", "Reward gain (scorer units)")


@dataclass(frozen=True, kw_only=True)
class _Line:
    """An arm's median attainment surface as the corners of a staircase."""

    name: str
    colour: str
    merged: bool
    tax: Sequence[float]
    reward: Sequence[float]


def shown_arms(found: Findings) -> list[str]:
    """Names of the arms that are drawn: those of the headline, or the controls' where there is no headline."""
    lines = found.headline or found.controls
    return list(dict.fromkeys(name for line in lines for name in (line.against, line.arm)))


def attainment_image(found: Findings, title: str) -> bytes:
    """A PNG with one panel per family."""
    families = found.families
    width = max(PANEL_INCHES[0] * len(families), NARROWEST_INCHES)
    legend_columns = int(width / LEGEND_INCHES)
    legend_rows = -(-len(shown_arms(found)) // legend_columns)
    foot = 1.1 + 0.24 * legend_rows
    height = PANEL_INCHES[1] + foot
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(families), squeeze=False)[0]
    edges = {"left": 0.75 / width, "right": 1 - 0.2 / width, "top": 1 - 0.75 / height, "bottom": foot / height}
    figure.subplots_adjust(**edges, wspace=0.2)
    for axes, family in zip(panels, families, strict=True):
        _panel(axes, found, family)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="lower left",
        bbox_to_anchor=(0.006, 0.42 / height),
        ncols=legend_columns,
        frameon=False,
        fontsize=9,
    )
    figure.text(0.012, 1 - 0.33 / height, title, fontsize=13, fontweight="bold", color=INK)
    figure.text(0.012, 0.12 / height, _caption(found), fontsize=8.2, color=MUTED, linespacing=1.5)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": "omsweep"})
    return content.getvalue()


def attainment_figure(found: Findings, family: str) -> go.Figure:
    """A family's panel for the page."""
    lines = _lines(found, family)
    figure = go.Figure(
        [
            go.Scatter(
                x=line.tax,
                y=line.reward,
                name=line.name,
                mode="lines",
                line={"color": line.colour, "width": 2, "dash": "solid" if line.merged else "dot"},
                meta={"part": "attainment"},
            )
            for line in lines
        ]
    )
    figure.add_vline(found.question.limit_of(family), line={"color": MUTED, "width": 1.3, "dash": "dash"})
    (low, high), (least, most) = _window(lines, found.question.limit_of(family))
    figure.update_layout(
        **LAYOUT,
        margin={"l": 58, "r": 14, "t": 12, "b": 96},
        legend={"orientation": "h", "y": -0.18},
        xaxis=quiet_axis(AXES[0], (low, high)),
        yaxis=quiet_axis(AXES[1], (least, most)),
    )
    return figure


def _panel(axes: Axes, found: Findings, family: str) -> None:
    lines = _lines(found, family)
    quiet_axes(axes, x=AXES[0], y=AXES[1])
    for line in lines:
        style = "-" if line.merged else (0, (1.5, 1.2))
        axes.plot(line.tax, line.reward, color=line.colour, linestyle=style, linewidth=1.8, label=line.name)
    axes.axvline(found.question.limit_of(family), color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    (low, high), (least, most) = _window(lines, found.question.limit_of(family))
    axes.set_xlim(low, high)
    axes.set_ylim(least, most)
    axes.set_title(family, loc="left", fontsize=11.5, fontweight="bold", color=INK)


def _lines(found: Findings, family: str) -> list[_Line]:
    shown = shown_arms(found)
    colours = colours_of(list(found.question.labels))
    arms = sorted(
        (arm for arm in found.arms if arm.choice.family == family and arm.choice.arm in shown),
        key=lambda arm: shown.index(arm.choice.arm),
    )
    return [_line(arm, found, colours) for arm in arms]


def _line(arm: ArmFound, found: Findings, colours: Mapping[str, str]) -> _Line:
    """The surface's staircase, drawn on to the reference tax, since more tax attains no less."""
    name = arm.choice.arm
    label = next(label for label in found.question.labels if name in (label, f"{label} + offline"))
    end = found.limits[arm.choice.family].reference_tax
    corners = staircase([(float(tax), float(reward)) for tax, reward in arm.surface if tax <= end])
    corners += [(end, corners[-1][1])] if corners else []
    return _Line(
        name=lettered(name, found.question),
        colour=colours[label],
        merged=name != label,
        tax=[tax for tax, _ in corners],
        reward=[reward for _, reward in corners],
    )


def _window(lines: Sequence[_Line], limit: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges of tax and reward: up to where the last arm stops rising, and somewhat beyond t."""
    turns = [
        tax for line in lines for tax, reward in zip(line.tax, line.reward, strict=True) if reward < line.reward[-1]
    ]
    taxes = [0.0, 1.25 * limit, *turns, *(line.tax[0] for line in lines)]
    rewards = [0.0, *(reward for line in lines for reward in line.reward)]
    return _padded(taxes), _padded(rewards)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = MARGIN * (high - low) or 1.0
    return low - pad, high + pad


def _caption(found: Findings) -> str:
    return (
        "Lines: what half of an arm's blocks attain on the report split (its candidates on the search split's front),\n"
        f"the SFT model at 0, 0. Dashed: tax = {found.question.limit_text(found.families)}."
    )
