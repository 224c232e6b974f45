"""What the page shows of every trial, as columns: the page's script makes table, tooltips and details from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from omsweep.results.front import label_of
from omsweep.results.numbers import Z95, is_number, short
from omsweep.results.view import SweepView
from omsweep.store.records import SHOWN, TrialRecord

PROPOSAL = "proposal"
"""What a search calls where a recipe came from; among a trial's settings, but nothing that was tuned."""
Look = Literal["", "trial", "label", "state"]
Read = Callable[[TrialRecord], Any]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column.

    Attributes:
        title: its heading.
        values: one per trial: all numbers or all texts, None where there is none.
        errors: half-widths of the values' intervals, empty where none is known.
        digits: after the point, at least 1; None for three significant ones.
        signed: whether a plus is written.
        descending: whether a first click sorts from large to small.
        hint: what it means.
        look: how its cells look.
        group: of `GROUPS`.
    """

    title: str
    values: Sequence[float | int | str | None]
    errors: Sequence[float | None] = ()
    digits: int | None = None
    signed: bool = False
    descending: bool = False
    hint: str = ""
    look: Look = ""
    group: str = ""

    @property
    def is_text(self) -> bool:
        """Whether its values are texts."""
        return any(isinstance(value, str) for value in self.values)

    @property
    def same(self) -> bool:
        """Whether several trials all have one value."""
        return len(self.values) > 1 and self.look != "trial" and len(set(self.values)) == 1 and not any(self.errors)


def columns(view: SweepView) -> list[Column]:
    """Every column with any content, group by group."""
    made = [replace(one, group=group) for group, (_, _, build) in GROUPS.items() for one in build(view)]
    return [one for one in made if any(value is not None for value in one.values)]


def _column(view: SweepView, title: str, read: Read, **look: Any) -> Column:
    """Numbers as they are; where one value is something else, all are texts."""
    found = [read(trial) for trial in view.trials]
    numbers = [value if is_number(value) else None for value in found]
    missing = [value is None or (isinstance(value, float) and not is_number(value)) for value in found]
    if all(gone or number is not None for gone, number in zip(missing, numbers, strict=True)):
        return Column(title=title, values=numbers, **look)
    return Column(
        title=title, values=[None if m else short(v) or None for m, v in zip(missing, found, strict=True)], **look
    )


def _attribute(view: SweepView, name: str, title: str = "", **look: Any) -> Column:
    return _column(view, title or name.replace("_", " "), lambda trial: getattr(trial, name), **look)


def _entries(view: SweepView, group: str, title: str = "{}", **look: Any) -> list[Column]:
    """A column for every number of a group of numbers that any trial has, in order of appearance."""
    names = dict.fromkeys(name for trial in view.trials for name in getattr(trial, group))

    def entry(name: str) -> Column:
        return _column(view, title.format(name.replace("_", " ")), lambda t: getattr(t, group).get(name), **look)

    return [entry(name) for name in names]


def _objectives(view: SweepView) -> list[Column]:
    """Both objectives, and the plain reward and tax where an objective is another number."""
    names = dict.fromkeys([view.objectives.reward.name, view.objectives.tax.name, "reward", "tax"])

    def measured(name: str) -> Column:
        shown = SHOWN[name]
        errors = [getattr(trial, shown.standard_error or "", None) for trial in view.trials]
        return _attribute(
            view,
            name,
            errors=[Z95 * one if is_number(one) else None for one in errors],
            digits=2,
            signed=True,
            descending=shown.direction == "maximise",
            hint=f"{shown.meaning} ± 1.96 item standard errors",
        )

    return [measured(name) for name in names]


def _recipe(view: SweepView) -> list[Column]:
    return [
        _attribute(view, "trial_id", "trial", look="trial"),
        *_objectives(view),
        _column(view, "label", label_of, look="label"),
        _attribute(view, "algorithm"),
    ]


def _settings(view: SweepView) -> list[Column]:
    settings = view.settings
    names = list(dict.fromkeys(name for one in settings.values() for name in one if name != PROPOSAL))

    def setting(name: str) -> Column:
        return _column(view, name.replace("_", " "), lambda trial: settings[trial.trial_id].get(name))

    changed = [t for t in view.trials if t.learning_rate_applied != settings[t.trial_id].get("learning_rate")]
    hint = "what was applied, after `match: share`"
    applied = [_attribute(view, "learning_rate_applied", hint=hint)] if changed else []
    labels = [label_of(trial) for trial in view.trials]
    found = [*map(setting, names), *applied]
    return sorted(found, key=lambda one: _is_of_label(one, labels))


def _is_of_label(column: Column, labels: Sequence[str]) -> bool:
    """Whether a label alone says the value; what was tuned stands before that."""
    return len(set(zip(labels, column.values, strict=True))) == len(set(labels))


def _place(view: SweepView) -> list[Column]:
    return [
        _attribute(view, "family"),
        _attribute(view, "state", look="state"),
        _column(view, "method", lambda t: t.method if t.method != label_of(t) else None),
        *(_attribute(view, name) for name in ("block", "seed", "dose")),
        _attribute(view, "sft_seed", "SFT seed"),
        _column(view, "baseline", lambda trial: trial.baseline or None),
        _column(view, PROPOSAL, lambda trial: trial.params.get(PROPOSAL)),
        *(_attribute(view, name) for name in ("kind", "task_vector", "parent", "attempts")),
    ]


def _outcomes(view: SweepView) -> list[Column]:
    chances: dict[str, float] = {}
    for family in view.summary["families"].values():
        chances |= family["front_probability"]
    hint = "share of 1000 simulated measurements, with this item noise, that put the trial on the front"
    objectives = {view.objectives.reward.name, view.objectives.tax.name}
    return [
        _column(view, "P(front)", lambda t: chances.get(t.trial_id), digits=2, descending=True, hint=hint),
        *(
            _attribute(
                view,
                name,
                shown.title,
                digits=shown.digits,
                signed=shown.objective == "tax" and shown.unit == "points",
                hint=shown.meaning,
            )
            for name, shown in SHOWN.items()
            if shown.table and name not in objectives
        ),
        *_entries(view, "rewards", "reward {}", digits=2, signed=True),
        *(_attribute(view, name, f"{SHOWN[name].twin_of} report split", digits=2, signed=True) for name in REPORTED),
    ]


REPORTED = ("reward_report", "tax_report")


def _scores(view: SweepView) -> list[Column]:
    """In percent, as the tax counts them."""
    names = sorted({name for trial in view.trials for name in trial.scores})

    def score(name: str) -> Column:
        def percent(trial: TrialRecord) -> float | None:
            value = trial.scores.get(name)
            return 100 * value if is_number(value) else None

        return _column(view, name.replace("_", " "), percent, digits=1, descending=True)

    return [score(name) for name in names]


def _diagnostics(view: SweepView) -> list[Column]:
    return [*_entries(view, "diagnostics"), _attribute(view, "merge_active")]


def _cost(view: SweepView) -> list[Column]:
    return [
        _attribute(view, "steps", "steps taken"),
        _attribute(view, "tokens"),
        *_entries(view, "seconds", "{} (s)", digits=1),
    ]


def _record(view: SweepView) -> list[Column]:
    names = ("accelerator", "weights_hash", "mlflow_run_id", "policy_path", "error")
    return [_attribute(view, name) for name in names]


GROUPS: Mapping[str, tuple[str, bool, Callable[[SweepView], list[Column]]]] = {
    "recipe": ("Trial", False, _recipe),
    "settings": ("Settings", False, _settings),
    "place": ("Where it belongs", False, _place),
    "outcomes": ("More results", True, _outcomes),
    "scores": ("Categories, %", True, _scores),
    "diagnostics": ("Diagnostics", True, _diagnostics),
    "cost": ("Cost", True, _cost),
    "record": ("Record", True, _record),
}
"""Groups of columns: what stands above them, whether they are hidden at first, their columns."""
