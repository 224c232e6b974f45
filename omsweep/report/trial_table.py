"""The page's table of every trial with every setting and diagnostic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from omsweep.report.cells import Cell, Column, ColumnGroup, Row, Table, measured, number, sort_key
from omsweep.report.styles import colours_of
from omsweep.results.front import label_of
from omsweep.results.numbers import fixed, short
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
    """A column and how a trial fills it: `value` gives data, `show` the cell of data that is not None."""

    column: Column
    value: Callable[[TrialRecord], Any]
    show: Callable[[Any, TrialRecord], Cell] = lambda value, _: Cell(short(value))


def trial_table(view: SweepView) -> Table:
    """All trials; what `same_settings` says has no column."""
    fields = [field for field in _fields(view) if any(field.value(trial) not in (None, "") for trial in view.trials)]
    fields = _mark_groups(fields)
    columns = [field.column for field in fields]
    return Table(
        label="All trials",
        columns=columns,
        rows=[_row(trial, fields) for trial in view.trials],
        groups=[
            ColumnGroup(name=name, title=GROUPS[name], width=len(list(mine)), hidden=name in HIDDEN_AT_FIRST)
            for name, mine in groupby(column.group for column in columns)
        ],
        tall=True,
    )


def same_settings(view: SweepView) -> dict[str, Any]:
    """Settings that no two trials differ in, which stand in a line above the table instead of in columns."""
    every = list(view.settings.values())
    if len(every) < 2:
        return {}
    return {name: value for name, value in every[0].items() if all(name in one and one[name] == value for one in every)}


def _row(trial: TrialRecord, fields: Sequence[Field]) -> Row:
    cells = []
    for field in fields:
        value = field.value(trial)
        shown = Cell() if value is None else field.show(value, trial)
        cells.append(replace(shown, sort=sort_key(value)))
    return Row(cells=cells, label=label_of(trial), algorithm=trial.algorithm or "none")


def _fields(view: SweepView) -> list[Field]:
    return [*_identity(view), *_outcomes(view), *_settings(view), *_diagnostics(view), *_record()]


def _identity(view: SweepView) -> list[Field]:
    colours, members = colours_of(view.labels), view.member_ids

    def words(title: str, value: Callable[[TrialRecord], Any], **changes: Any) -> Field:
        return Field(Column(title=title, group="g-trial", numeric=False), value, **changes)

    def differing(field: str, usual: Any) -> Field:
        varied = any(getattr(trial, field) != usual for trial in view.trials)
        return words(field.replace("_", " "), lambda trial: getattr(trial, field) if varied else None)

    return [
        Field(
            Column(title="trial", group="g-trial", numeric=False, pinned=True),
            lambda trial: trial.trial_id,
            lambda trial_id, _: Cell(trial_id, code=True, starred=trial_id in members),
        ),
        words("family", lambda trial: trial.family),
        words("label", label_of, show=lambda label, _: Cell(label, swatch=colours[label])),
        words("method", lambda trial: trial.method if trial.method != label_of(trial) else None),
        words("algorithm", lambda trial: trial.algorithm),
        words("state", lambda trial: trial.state, show=lambda state, _: Cell(badge=state)),
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
            lambda value, _: number(value),
        ),
    ]
    for name, title, digits, hint in OUTCOMES:
        signed = name in METRICS and name != "flip_rate"
        found.append(_number(name, title, digits, hint, signed=signed))
    for decoder in _keys(view, "rewards"):
        if decoder != "sampled":  # that is the reward itself
            found.append(_entry("rewards", decoder, f"reward {decoder}", "g-outcome", signed=True))
    return found


def _settings(view: SweepView) -> list[Field]:
    settings, same = view.settings, same_settings(view)
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
        lambda value, trial: measured(value, getattr(trial, f"{name}_se_items")),
    )


def _number(name: str, title: str, digits: int, hint: str, *, signed: bool) -> Field:
    column = Column(title=title, group="g-outcome", hint=hint)
    return Field(column, _attribute(name), lambda value, _: number(value, digits, signed=signed))


def _entry(
    group: str, key: str, title: str, column_group: str, *, digits: int | None = None, signed: bool = False
) -> Field:
    def show(value: Any, _: TrialRecord) -> Cell:
        return Cell(fixed(value, digits or 2, signed=signed) if digits or signed else short(value))

    return Field(Column(title=title, group=column_group), lambda trial: getattr(trial, group).get(key), show)


def _attribute(name: str) -> Callable[[TrialRecord], Any]:
    return lambda trial: getattr(trial, name)


def _keys(view: SweepView, group: str) -> list[str]:
    """Keys a group of numbers has in any trial, in order of appearance."""
    return list(dict.fromkeys(key for trial in view.trials for key in getattr(trial, group)))


def _mark_groups(fields: Sequence[Field]) -> list[Field]:
    marked, last = [], None
    for field in fields:
        first = field.column.group != last
        marked.append(replace(field, column=replace(field.column, first_of_group=first and last is not None)))
        last = field.column.group
    return marked
