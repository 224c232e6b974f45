"""The page's table of every trial with every setting and diagnostic."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from omsweep.report.cells import Cell, Column, ColumnGroup, Row, Table, measured, number, plain
from omsweep.report.styles import colours_of
from omsweep.results.front import label_of
from omsweep.results.view import SweepView
from omsweep.store.records import SHOWN, TrialRecord

Field = tuple[Column, Callable[[TrialRecord], Cell]]
"""A column and how a trial fills it."""


def trial_table(view: SweepView) -> Table:
    """All trials; a column without any content is left out, and so is what `same_settings` says."""
    columns: list[Column] = []
    cells: list[list[Cell]] = []
    groups: list[ColumnGroup] = []
    for name, (title, hidden, build) in GROUPS.items():
        filled = [(column, [fill(trial) for trial in view.trials]) for column, fill in build(view)]
        filled = [(column, mine) for column, mine in filled if any(cell.sort is not None for cell in mine)]
        for i, (column, mine) in enumerate(filled):
            columns.append(replace(column, group=name, first_of_group=bool(groups) and i == 0))
            cells.append(mine)
        if filled:
            groups.append(ColumnGroup(name=name, title=title, width=len(filled), hidden=hidden))
    rows = [
        Row(cells=[column[i] for column in cells], label=label_of(trial), algorithm=trial.algorithm or "none")
        for i, trial in enumerate(view.trials)
    ]
    return Table(label="All trials", columns=columns, rows=rows, groups=groups, tall=True)


def same_settings(view: SweepView) -> dict[str, Any]:
    """Settings that no two trials differ in, which stand in a line above the table instead of in columns."""
    every = list(view.settings.values())
    if len(every) < 2:
        return {}
    return {name: value for name, value in every[0].items() if all(name in one and one[name] == value for one in every)}


def _identity(view: SweepView) -> list[Field]:
    colours, members = colours_of(view.labels), view.member_ids

    def differing(name: str, usual: Any) -> list[Field]:
        varied = any(getattr(trial, name) != usual for trial in view.trials)
        return [_attribute(name, numeric=not isinstance(usual, str))] if varied else []

    return [
        _words("trial", lambda t: plain(t.trial_id, code=True, starred=t.trial_id in members), pinned=True),
        _attribute("family", numeric=False),
        _words("label", lambda t: plain(label_of(t), swatch=colours[label_of(t)])),
        _words("method", lambda t: plain(t.method if t.method != label_of(t) else None)),
        _attribute("algorithm", numeric=False),
        _words("state", lambda t: Cell(badge=t.state, sort=t.state)),
        _attribute("block"),
        _attribute("seed"),
        _attribute("sft_seed", title="SFT seed"),
        _words("baseline", lambda t: plain(t.baseline or None)),
        *differing("kind", "trained"),
        *differing("task_vector", "real"),
        _attribute("parent", numeric=False),
        *differing("attempts", 1),
    ]


def _outcomes(view: SweepView) -> list[Field]:
    chances: dict[str, float] = {}
    for family in view.summary["families"].values():
        chances |= family["front_probability"]
    reward = "mean over prompts of policy minus SFT model ± 1.96 item standard errors"
    tax = "SFT model minus policy, points, ± 1.96 item standard errors"
    chance = "share of 1000 simulated measurements, with this item noise, that put the trial on the front"
    decoders = [decoder for decoder in _keys(view, "rewards") if decoder != "sampled"]  # that is the reward itself
    return [
        (Column(title="reward", descending=True, hint=reward), lambda t: measured(t.reward, t.reward_se_items)),
        (Column(title="tax", hint=tax), lambda t: measured(t.tax, t.tax_se_items)),
        (Column(title="P(front)", descending=True, hint=chance), lambda t: number(chances.get(t.trial_id))),
        *(
            _attribute(
                name,
                title=shown.title,
                hint=shown.meaning,
                show=partial(number, digits=shown.digits, signed=shown.objective == "tax" and shown.unit == "points"),
            )
            for name, shown in SHOWN.items()
            if shown.table
        ),
        *(_entry("rewards", name, f"reward {name}", show=partial(number, signed=True)) for name in decoders),
    ]


def _settings(view: SweepView) -> list[Field]:
    settings, same = view.settings, same_settings(view)
    names = [name for name in dict.fromkeys(n for one in settings.values() for n in one) if name not in same]

    def setting(name: str) -> Field:
        values = [one.get(name) for one in settings.values()]
        numeric = all(value is None or isinstance(value, int | float) for value in values)
        column = Column(title=name.replace("_", " "), numeric=numeric)
        return column, lambda trial: plain(settings[trial.trial_id].get(name))

    return [*map(setting, names), _attribute("learning_rate_applied", hint="what was applied, after `match: share`")]


def _diagnostics(view: SweepView) -> list[Field]:
    named = [_entry("diagnostics", name, name.replace("_", " ")) for name in _keys(view, "diagnostics")]
    return [*named, _attribute("merge_active", numeric=False)]


def _cost(view: SweepView) -> list[Field]:
    seconds = [
        _entry("seconds", name, f"{name} (s)", show=partial(number, digits=1)) for name in _keys(view, "seconds")
    ]
    return [_attribute("steps"), _attribute("tokens"), *seconds]


def _record(_: SweepView) -> list[Field]:
    return [_attribute(n, numeric=False) for n in ("accelerator", "weights_hash", "mlflow_run_id", "policy_path")]


GROUPS: Mapping[str, tuple[str, bool, Callable[[SweepView], list[Field]]]] = {
    "g-trial": ("Trial", False, _identity),
    "g-outcome": ("Outcome on the search split", False, _outcomes),
    "g-settings": ("Settings", False, _settings),
    "g-diagnostics": ("Diagnostics", False, _diagnostics),
    "g-cost": ("Cost", True, _cost),
    "g-record": ("Record", True, _record),
}
"""Groups of columns: what stands above them, whether they are hidden at first, their columns."""


def _words(title: str, fill: Callable[[TrialRecord], Cell], **look: Any) -> Field:
    return Column(title=title, numeric=False, **look), fill


def _attribute(name: str, *, title: str = "", show: Callable[[Any], Cell] = plain, **look: Any) -> Field:
    column = Column(title=title or name.replace("_", " "), **look)
    return column, lambda trial: show(getattr(trial, name))


def _entry(group: str, key: str, title: str, *, show: Callable[[Any], Cell] = plain) -> Field:
    return Column(title=title), lambda trial: show(getattr(trial, group).get(key))


def _keys(view: SweepView, group: str) -> list[str]:
    """Keys a group of numbers has in any trial, in order of appearance."""
    return list(dict.fromkeys(key for trial in view.trials for key in getattr(trial, group)))
