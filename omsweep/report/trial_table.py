"""The page's table of every trial with every setting and diagnostic."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omsweep.report.markup import Column, badge, cell, plus_minus, sort_key, swatch, table, text
from omsweep.report.styles import colours_of
from omsweep.results.front import label_of
from omsweep.results.numbers import fixed, short, with_error
from omsweep.results.objectives import METRICS
from omsweep.results.view import SweepView
from omsweep.store.records import TrialRecord
from omsweep.strict_json import flatten

GROUPS = {
    "g-trial": "Trial",
    "g-outcome": "Outcome on the search split",
    "g-settings": "Settings",
    "g-diagnostics": "Diagnostics",
    "g-cost": "Cost",
    "g-record": "Record",
}
HIDDEN_AT_FIRST = ("g-cost", "g-record")
OUTCOMES = (
    ("tax_regressed", "tax regressed", 2, "mean over categories of what was lost, gains not counted, points"),
    ("tax_worst", "worst category", 2, "largest loss of a category, points"),
    ("flip_rate", "flip rate", 3, "share of items right before and wrong after"),
    ("benchmark_average", "benchmark avg", 1, "100 x mean over categories of the policy's score"),
    ("reward_absolute", "reward absolute", 2, "the policy's own mean score, scorer's unit"),
    ("kl", "KL", 2, "nats per completion against the SFT model"),
    ("length_ratio", "length ratio", 2, "mean length against the SFT model's"),
)


@dataclass(frozen=True)
class Field:
    """A column and how a trial fills it: `value` gives data, `show` its HTML (escaped text by default)."""

    column: Column
    value: Callable[[TrialRecord], Any]
    show: Callable[[Any, TrialRecord], str] = lambda value, _: text(short(value))


def trial_table(view: SweepView) -> str:
    """All trials; settings that no two trials differ in stand in a line above instead of in columns."""
    settings = view.settings
    same = _same_everywhere(settings)
    fields = [
        field
        for field in (*_identity(view), *_outcomes(view), *_settings(settings, same), *_diagnostics(view), *_record())
        if any(field.value(trial) not in (None, "") for trial in view.trials)
    ]
    fields = _mark_groups(fields)
    rows = [_row(view, trial, fields) for trial in view.trials]
    shown = table(
        [field.column for field in fields],
        rows,
        element_id="trials",
        groups=_group_row(fields),
        tall=True,
        label="All trials",
    )
    return f"{_same_line(same)}{_group_boxes(fields)}{shown}"


def _row(view: SweepView, trial: TrialRecord, fields: Sequence[Field]) -> str:
    cells = []
    for field in fields:
        value = field.value(trial)
        shown = "" if value is None else field.show(value, trial)
        cells.append(cell(shown, field.column, sort_key(value)))
    attributes = f'data-label="{text(label_of(trial))}" data-algorithm="{text(trial.algorithm or "none")}"'
    return f"<tr {attributes}>{''.join(cells)}</tr>"


def _identity(view: SweepView) -> list[Field]:
    colours, members = colours_of(view.labels), view.member_ids

    def words(title: str, value: Callable[[TrialRecord], Any], **changes: Any) -> Field:
        return Field(Column(title=title, group="g-trial", numeric=False), value, **changes)

    def name(trial_id: str, _: TrialRecord) -> str:
        star = '<span class="star" title="on the front">★</span> ' if trial_id in members else ""
        return f"{star}<code>{text(trial_id)}</code>"

    def differing(field: str, usual: Any) -> Field:
        varied = any(getattr(trial, field) != usual for trial in view.trials)
        return words(field.replace("_", " "), lambda trial: getattr(trial, field) if varied else None)

    return [
        Field(
            Column(title="trial", group="g-trial", numeric=False, pinned=True),
            lambda trial: trial.trial_id,
            name,
        ),
        words("family", lambda trial: trial.family),
        words("label", label_of, show=lambda label, _: swatch(colours[label]) + text(label)),
        words("method", lambda trial: trial.method if trial.method != label_of(trial) else None),
        words("algorithm", lambda trial: trial.algorithm),
        words("state", lambda trial: trial.state, show=lambda state, _: badge(state)),
        Field(Column(title="block", group="g-trial"), lambda trial: trial.block),
        Field(Column(title="seed", group="g-trial"), lambda trial: trial.seed),
        Field(Column(title="SFT seed", group="g-trial"), lambda trial: trial.sft_seed),
        words("baseline", lambda trial: trial.baseline or None),
        differing("kind", "trained"),
        differing("task_vector", "real"),
        words("parent", lambda trial: trial.parent),
        differing("attempts", 1),
    ]


def _outcomes(view: SweepView) -> list[Field]:
    chances = {
        trial_id: chance
        for family in view.summary["families"].values()
        for trial_id, chance in family["front_probability"].items()
    }
    found = [
        _with_noise("reward", "reward", "mean over prompts of policy minus SFT model ± 1.96 item standard errors"),
        _with_noise("tax", "tax", "SFT model minus policy, points, ± 1.96 item standard errors"),
        Field(
            Column(
                title="P(front)",
                group="g-outcome",
                descending=True,
                hint="share of 1000 simulated measurements, with this item noise, that put the trial on the front",
            ),
            lambda trial: chances.get(trial.trial_id),
            lambda value, _: fixed(value),
        ),
    ]
    for name, title, digits, hint in OUTCOMES:
        signed = name in METRICS and name != "flip_rate"
        found.append(_number(name, title, digits, hint, signed=signed))
    for decoder in _keys(view, "rewards"):
        if decoder != "sampled":  # that is the reward itself
            found.append(_entry("rewards", decoder, f"reward {decoder}", "g-outcome", signed=True))
    return found


def _settings(settings: Mapping[str, Mapping[str, Any]], same: Mapping[str, Any]) -> list[Field]:
    names = [name for name in dict.fromkeys(n for one in settings.values() for n in one) if name not in same]

    def setting(name: str) -> Field:
        values = [one.get(name) for one in settings.values()]
        numeric = all(value is None or isinstance(value, int | float) for value in values)
        column = Column(title=name.replace("_", " "), group="g-settings", numeric=numeric)
        return Field(column, lambda trial: settings[trial.trial_id].get(name))

    applied = Column(
        title="learning rate applied",
        group="g-settings",
        hint="over the share of an update that is kept, where design.match asks for it",
    )
    return [*(setting(name) for name in names), Field(applied, lambda trial: trial.learning_rate_applied)]


def _diagnostics(view: SweepView) -> list[Field]:
    merge = Column(title="merge active", group="g-diagnostics", numeric=False)
    cost = (("steps", "steps"), ("tokens", "tokens"))
    return [
        *(_entry("diagnostics", name, name.replace("_", " "), "g-diagnostics") for name in _keys(view, "diagnostics")),
        Field(merge, lambda trial: trial.merge_active),
        *(Field(Column(title=title, group="g-cost"), _attribute(name)) for name, title in cost),
        *(_entry("seconds", name, f"{name} (s)", "g-cost", digits=1) for name in _keys(view, "seconds")),
    ]


def _record() -> list[Field]:
    names = ("accelerator", "weights_hash", "mlflow_run_id", "policy_path")
    return [
        Field(Column(title=name.replace("_", " "), group="g-record", numeric=False), _attribute(name)) for name in names
    ]


def _with_noise(name: str, title: str, hint: str) -> Field:
    column = Column(title=title, group="g-outcome", descending=name == "reward", hint=hint)
    return Field(
        column,
        _attribute(name),
        lambda value, trial: plus_minus(with_error(value, getattr(trial, f"{name}_se_items"))),
    )


def _number(name: str, title: str, digits: int, hint: str, *, signed: bool) -> Field:
    column = Column(title=title, group="g-outcome", hint=hint)
    return Field(column, _attribute(name), lambda value, _: text(fixed(value, digits, signed=signed)))


def _entry(
    group: str, key: str, title: str, html_group: str, *, digits: int | None = None, signed: bool = False
) -> Field:
    def show(value: Any, _: TrialRecord) -> str:
        return text(fixed(value, digits or 2, signed=signed) if digits or signed else short(value))

    return Field(Column(title=title, group=html_group), lambda trial: getattr(trial, group).get(key), show)


def _attribute(name: str) -> Callable[[TrialRecord], Any]:
    return lambda trial: getattr(trial, name)


def _keys(view: SweepView, group: str) -> list[str]:
    """Keys a group of numbers has in any trial, in order of appearance."""
    return list(dict.fromkeys(key for trial in view.trials for key in getattr(trial, group)))


def _same_everywhere(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    every = list(settings.values())
    if len(every) < 2:
        return {}
    return {name: value for name, value in every[0].items() if all(name in one and one[name] == value for one in every)}


def _mark_groups(fields: Sequence[Field]) -> list[Field]:
    marked, last = [], None
    for field in fields:
        first = field.column.group != last
        marked.append(replace(field, column=replace(field.column, first_of_group=first and last is not None)))
        last = field.column.group
    return marked


def _group_row(fields: Sequence[Field]) -> str:
    cells = []
    for group, title in GROUPS.items():
        width = sum(field.column.group == group for field in fields)
        if group == "g-trial":  # the first column is pinned and must not span
            cells.append('<th class="pin"></th>')
            width -= 1
        if width:
            cells.append(f'<th colspan="{width}" class="group {group}" scope="colgroup">{text(title)}</th>')
    return f"<tr>{''.join(cells)}</tr>"


def _group_boxes(fields: Sequence[Field]) -> str:
    present = {field.column.group for field in fields}
    boxes = [
        f'<label class="chip"><input type="checkbox" data-table="trials" data-group="{group}"'
        f"{'' if group in HIDDEN_AT_FIRST else ' checked'}> {text(title)}</label>"
        for group, title in GROUPS.items()
        if group in present and group != "g-trial"
    ]
    return f'<div class="legend"><span class="of">Columns</span>{"".join(boxes)}</div>'


def _same_line(same: Mapping[str, Any]) -> str:
    if not same:
        return ""
    listed = ", ".join(f"{text(name.replace('_', ' '))} {text(short(value))}" for name, value in flatten(same).items())
    return f'<p class="lead">The same in every trial: {listed}.</p>'
