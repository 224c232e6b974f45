"""The interactive fronts: one plotly figure per family, as HTML that needs plotly.js on the page."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
import plotly.io

from omsweep.report import captions
from omsweep.report.styles import FRONT_LINE, GRID, INK, MUTED, colours_of, markers_of
from omsweep.results.geometry import Mark, dominated_area, marks, staircase, window
from omsweep.results.numbers import Z95, fixed, short, with_error
from omsweep.results.view import SweepView
from omsweep.store.records import TrialRecord

CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,  # plotly's share button would upload the figure
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}
HEIGHT_PIXELS = 460
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


LAYOUT: Mapping[str, Any] = {
    "template": "none",
    "height": HEIGHT_PIXELS,
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#aab3c0", "activecolor": INK},
    "font": {"family": _FONT, "size": 12.5, "color": INK},
}
"""The look of every figure on the page."""


def front_figure(view: SweepView, family: str) -> go.Figure:
    """A family's trials by tax and reward; a trace is one method and algorithm, as its `meta` says."""
    shown = marks(view, family)
    seen = window(shown, view.objectives)
    figure = go.Figure([*_background(view, shown), *_traces(view, family, shown)])
    dashed = {"line": {"color": MUTED, "width": 1, "dash": "dot"}, "layer": "below"}
    figure.add_hline(view.objectives.reference_reward, **dashed)
    figure.add_vline(view.objectives.reference_tax, **dashed)
    tax, reward = view.objectives.tax, view.objectives.reward
    figure.update_layout(
        **LAYOUT,
        margin={"l": 58, "r": 14, "t": 12, "b": 52},
        showlegend=False,
        hovermode="closest",
        hoverlabel={"bgcolor": "white", "bordercolor": "#b9c0cc", "align": "left"},
        xaxis=quiet_axis(f"{tax.title} ({tax.unit}), less is better", seen.tax),
        yaxis=quiet_axis(f"{reward.title} ({reward.unit})", seen.reward),
    )
    return figure


def figure_html(figure: go.Figure, *, element_id: str, include_library: bool) -> str:
    """The figure as an HTML fragment; `include_library` puts plotly.js itself into it (once per page)."""
    html: str = plotly.io.to_html(
        figure,
        config=CONFIG,
        include_plotlyjs=include_library,
        include_mathjax=False,
        full_html=False,
        div_id=element_id,
        default_width="100%",
        default_height=f"{HEIGHT_PIXELS}px",
    )
    return html


def _background(view: SweepView, shown: Sequence[Mark]) -> list[go.Scatter]:
    members = [(mark.tax, mark.reward) for mark in shown if mark.on_front]
    quiet: dict[str, Any] = {"mode": "lines", "hoverinfo": "skip"}
    traces = []
    area = dominated_area(members, view.objectives)
    if area:
        x, y = zip(*area, strict=True)
        fill = {"fill": "toself", "fillcolor": "rgba(58,69,86,0.07)", "line": {"width": 0}}
        traces.append(go.Scatter(x=x, y=y, meta={"part": "hypervolume"}, **fill, **quiet))
    x, y = zip(*staircase(members), strict=True)
    traces.append(go.Scatter(x=x, y=y, line={"color": FRONT_LINE, "width": 2}, meta={"part": "front"}, **quiet))
    traces.append(
        go.Scatter(
            x=[0],
            y=[0],
            mode="markers+text",
            text=["SFT"],
            textposition="bottom right",
            marker={"symbol": "star", "size": 15, "color": INK},
            hovertemplate="<b>SFT model</b>, untrained: reward 0, tax 0 by definition<extra></extra>",
            meta={"part": "reference"},
        )
    )
    return traces


def _traces(view: SweepView, family: str, shown: Sequence[Mark]) -> list[go.Scatter]:
    by_kind = {
        (label, algorithm): [mark for mark in shown if (mark.label, mark.algorithm) == (label, algorithm)]
        for label in view.labels
        for algorithm in view.algorithms
    }
    return [_trace(view, family, label, algorithm, mine) for (label, algorithm), mine in by_kind.items() if mine]


def _trace(view: SweepView, family: str, label: str, algorithm: str, mine: Sequence[Mark]) -> go.Scatter:
    """Filled markers on the front, hollow ones off it, merged ones small with a dot; error bars and tooltips."""
    colour, symbol = colours_of(view.labels)[label], markers_of(view.algorithms)[algorithm].plotly
    trials = {trial.trial_id: trial for trial in view.scored(family)}
    return go.Scatter(
        x=[mark.tax for mark in mine],
        y=[mark.reward for mark in mine],
        error_x=_error([mark.tax_error for mark in mine], colour),
        error_y=_error([mark.reward_error for mark in mine], colour),
        mode="markers",
        marker={
            "symbol": [f"{symbol}-dot" if mark.merged else symbol for mark in mine],
            "opacity": 1,
            "size": [(12 if mark.on_front else 10) - 2 * mark.merged for mark in mine],
            "color": [colour if mark.on_front else "white" for mark in mine],
            "line": {
                "color": [INK if mark.on_front else colour for mark in mine],
                "width": [1.2 if mark.on_front else 1.8 for mark in mine],
            },
        },
        hovertext=[_hover(view, trials[mark.trial_id], mark) for mark in mine],
        hovertemplate="%{hovertext}<extra></extra>",
        meta={"part": "trials", "label": label, "algorithm": algorithm},
    )


def _error(half_widths: Sequence[float], colour: str) -> dict[str, Any]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return {
        "type": "data",
        "array": list(half_widths),
        "visible": any(half_widths),
        "thickness": 1.1,
        "width": 0,
        "color": f"rgba({red},{green},{blue},0.38)",
    }


def _hover(view: SweepView, trial: TrialRecord, mark: Mark) -> str:
    """Lines of a trial's tooltip; every text that came from outside is escaped."""
    tax = view.objectives.tax
    lines = [
        f"<b>{escape(trial.trial_id)}</b>{' ★ on the front' if mark.on_front else ''}",
        f"{escape(mark.algorithm)}, {escape(mark.label)}, block {short(trial.block)}, seed {short(trial.seed)}",
        f"reward <b>{with_error(mark.reward, mark.reward_error / Z95 or None)}</b>",
        f"{tax.name} <b>{with_error(mark.tax, mark.tax_error / Z95 or None)}</b> {tax.unit}",
    ]
    if tax.name != "tax":
        lines.append(f"tax {fixed(trial.tax, signed=True)} points")
    if trial.parent is not None:
        lines.append(f"merged after training from {escape(trial.parent)}")
    settings = view.settings[trial.trial_id].items()
    lines += [f"{escape(name)} {escape(short(value))}" for name, value in settings]
    lines.append(f"learning rate applied {short(trial.learning_rate_applied)}")
    lines.append(f"KL {fixed(trial.kl)} nats, length ratio {fixed(trial.length_ratio)}")
    lines.append(f"worst category's tax {fixed(trial.tax_worst)} points")
    if trial.merge_active is False:
        lines.append("merging inactive: it moved under 1 % of the displacement")
    return "<br>".join(lines)


def quiet_axis(title: str, shown: tuple[float, float]) -> dict[str, Any]:
    """An axis over the range `shown`: a pale grid, no ticks."""
    return {
        "title": {"text": title, "standoff": 8},
        "range": list(shown),
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": "#b9c0cc",
        "showline": True,
        "ticks": "",
        "tickfont": {"color": MUTED},
    }


def alternative_text(view: SweepView, family: str) -> str:
    """What the figure shows, in a sentence for readers who do not see it."""
    return f"Reward against tax of {family}: {captions.family_line(view, family)}."
