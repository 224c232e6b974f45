"""The front as MLflow holds it: tags of trials, a table and a figure of the sweep's run, and its members as models."""

import csv
import hashlib
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html import escape
from pathlib import Path

from plotly.io import to_html

from omsweep.redaction import visible
from omsweep.report.charts import Chart
from omsweep.report.draw_plotly import CONFIG, figure, plotly_library
from omsweep.report.front_chart import front_charts
from omsweep.results.numbers import short, with_error
from omsweep.results.view import SweepView, view_of
from omsweep.sinks.described import FRONT_CSV, FRONT_HTML, run_name, sweep_note
from omsweep.sinks.run_write import Model, Write, mark_of
from omsweep.store.events import Event
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TrialRecord
from omsweep.store.state import SweepState
from omsweep.strict_json import flatten

SHOW_SECONDS, SHOW_SHARE = 60.0, 0.02
"""The front is drawn again after a minute at the earliest, and for at most this share of the time."""


class Pace:
    """When the front is told again: where it changed, after a minute at the earliest, and when a driver has ended.

    Args:
        told: the front that was told last, see `front_digest`.
    """

    def __init__(self, told: str = "") -> None:
        self.told = told
        self._not_before = 0.0

    def is_due(self, state: SweepState) -> bool:
        """Whether to tell the front of this state now."""
        waits = state.closed is None and time.monotonic() < self._not_before
        return any(state.fronts.values()) and not waits and self.told != front_digest(state)

    @contextmanager
    def telling(self, state: SweepState) -> Iterator[None]:
        """While the front is told; where that raises it is due again."""
        begun = time.monotonic()
        yield
        self.told = front_digest(state)
        self._not_before = begun + max(SHOW_SECONDS, (time.monotonic() - begun) / SHOW_SHARE)


def front_digest(state: SweepState) -> str:
    """What tells a front from another: its members, and at the end of a driver who has numbers on the report split."""
    members = [(name, *front) for name, front in sorted(state.fronts.items())]
    rescored = sorted(state.report_scores()) if state.closed else []
    return hashlib.sha256(repr((members, state.closed, rescored)).encode()).hexdigest()[:16]


def membership(before: SweepState, after: SweepState, trial_id: str) -> Iterator[tuple[str, bool]]:
    """Which trials are told whether they are on the front, once one has ended: it, and those that it beat."""
    family = str(after.trials[trial_id].fields["family"])
    were, are = (frozenset(one.trial_id for one in state.fronts.get(family, ())) for state in (before, after))
    yield trial_id, trial_id in are
    yield from ((one, False) for one in sorted(were - are))


def ranks(state: SweepState) -> dict[str, int]:
    """Place of each member on its family's front, 1 for the least tax."""
    return {one.trial_id: place for front in state.fronts.values() for place, one in enumerate(front, start=1)}


def drawn(state: SweepState, folder: Path) -> dict[str, str]:
    """The front's files by name: a table of its members, and a page with a chart of each family's trials."""
    view = view_of(SweepFolder(folder.parent, folder.name), state)
    return {FRONT_CSV: _csv(view, state), FRONT_HTML: _html(view)}


def shown(state: SweepState, folder: Path, last: Event) -> list[Write]:
    """What the front is by now, for the sweep's run and for the members' places on it.

    Args:
        state: of the sweep.
        folder: of the sweep.
        last: the last event of the state.
    """
    write = Write(time=round(1000 * last.time), mark=mark_of(last))
    places = [replace(write, trial_id=one, tags={"front_rank": rank}) for one, rank in ranks(state).items()]
    return [*places, replace(write, note=sweep_note(state), texts=drawn(state, folder))]


def models(state: SweepState) -> tuple[Model, ...]:
    """Members of the fronts as models, as the section `tracking` asks for them."""
    asked = state.resolved.get("tracking") or {}
    if asked.get("log_models", "front") != "front":
        return ()
    made = []
    for trial_id in ranks(state):
        trial = state.trials[trial_id]
        record = trial.record
        made.append(
            Model(
                trial_id=trial_id,
                name="".join(sign if sign not in "/:.%\"'" else "-" for sign in run_name(trial)),
                params={"family": record.family, "label": record.label, "algorithm": record.algorithm, **record.params},
                policy=record.policy_path,
                weights=bool(asked.get("weights")),
                register=asked.get("registered_model"),
            )
        )
    return tuple(made)


def _csv(view: SweepView, state: SweepState) -> str:
    place = ranks(state)
    rows = [{"front_rank": place.get(one["trial_id"]), **flatten(one)} for one in view.summary["members"]]
    columns = [
        name
        for name in dict.fromkeys(key for row in rows for key in row)
        if any(row.get(name) is not None for row in rows)
    ]
    target = io.StringIO()
    table = csv.DictWriter(target, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return target.getvalue()


def _html(view: SweepView) -> str:
    charts = "".join(f"<h2>{escape(chart.title)}</h2>{_plot(view, chart)}" for chart in front_charts(view))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Front</title>'
        f"<script>{plotly_library()}</script></head>"
        f'<body style="font-family: system-ui, sans-serif">{charts}</body></html>'
    )


def _plot(view: SweepView, chart: Chart) -> str:
    """A chart that stands alone: its points say their trial and recipe."""
    drawn = figure(chart)
    for trace in drawn.data:
        if trace.customdata is not None:
            trace.hovertext = [_said(view.trials[place]) for place in trace.customdata]
    html: str = to_html(drawn, config=CONFIG, include_plotlyjs=False, full_html=False)
    return html


def _said(trial: TrialRecord) -> str:
    recipe = ", ".join(f"{name} {short(value)}" for name, value in flatten(dict(trial.params)).items())
    reward, tax = with_error(trial.reward, trial.reward_se_items), with_error(trial.tax, trial.tax_se_items)
    return "<br>".join(escape(visible(one)) for one in (trial.trial_id, f"reward {reward}, tax {tax}", recipe))
