"""Everything the page's script needs of the trials, as compact plain data; nothing of it is HTML."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from omsweep.report.styles import colours_of
from omsweep.report.trials.columns import GROUPS, Column, columns
from omsweep.results.front import label_of
from omsweep.results.numbers import is_number
from omsweep.results.view import SweepView
from omsweep.store.folder import reference_of
from omsweep.strict_json import flatten

DIGITS = 6
"""Significant ones of a number on the page; all of them are in `trials.csv`."""
MOST_POINTS, FEWEST_POINTS, ALL_POINTS = 100, 10, 30_000
"""Of one learning curve, and of all together."""


def trial_data(view: SweepView) -> dict[str, Any]:
    """The data: what holds for all trials, and columns with an entry for each."""
    every = columns(view)
    return {
        "sweep": view.name,
        "count": len(view.trials),
        "objectives": [view.objectives.reward.name, view.objectives.tax.name],
        "groups": {name: {"title": title, "hidden": hidden} for name, (title, hidden, _) in GROUPS.items()},
        "columns": [_encoded(one) for one in every],
        "filters": {
            "family": [view.families.index(trial.family) for trial in view.trials],
            "label": [view.labels.index(label_of(trial)) for trial in view.trials],
            "algorithm": [view.algorithms.index(trial.algorithm or "none") for trial in view.trials],
            "state": [states_of(view).index(trial.state) for trial in view.trials],
        },
        "colours": list(colours_of(view.labels).values()),
        "members": [i for i, trial in enumerate(view.trials) if trial.trial_id in view.member_ids],
        "sft": _sft_scores(view),
        "curves": _curves(view),
        "samples": {
            i: _samples(view, one.trial_id) for i, one in enumerate(view.trials) if one.trial_id in view.samples
        },
    }


def states_of(view: SweepView) -> list[str]:
    """States in which trials ended, the most frequent first."""
    return list(view.summary["trials"])


def scores_csv(view: SweepView) -> str:
    """`trials.csv`: a row per trial with every number and setting of its record, in full."""
    rows = [flatten(trial.to_json()) for trial in view.trials]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def compact(value: Any) -> Any:
    """Plain data with floats of `DIGITS` significant digits, None where they are not finite."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if is_number(value) else None
    if isinstance(value, Mapping):
        return {str(key): compact(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [compact(entry) for entry in value]
    return value


def _encoded(column: Column) -> dict[str, Any]:
    """A column with what it does not leave at its default; each text stands once, values are then its places."""
    look: dict[str, Any] = {name: value for name, value in vars(column).items() if value}
    look["values"] = list(column.values)
    if not any(one is not None for one in column.errors):
        look.pop("errors", None)
    if column.same:
        look["same"] = True
    if column.is_text:
        words = {word: place for place, word in enumerate(dict.fromkeys(v for v in column.values if v is not None))}
        look |= {"words": list(words), "values": [-1 if v is None else words[v] for v in column.values]}
    return look


def _sft_scores(view: SweepView) -> dict[str, Any]:
    """What the SFT models scored in percent, by the title of a column, and which of them a trial started from."""
    places: dict[tuple[str, int | None], int] = {}
    of = [places.setdefault((trial.family, trial.sft_seed), len(places)) for trial in view.trials]
    kept = [reference_of(view.references, *whose) or {} for whose in places]
    scores = [{name: 100 * s for name, s in (one.get("scores") or {}).items() if is_number(s)} for one in kept]
    return {"of": of, "scores": [{name.replace("_", " "): s for name, s in one.items()} for one in scores]}


def _curves(view: SweepView) -> list[Any]:
    """Of every trial the steps that one point stands for, and the mean losses of so many; None without any."""
    most = max(FEWEST_POINTS, min(MOST_POINTS, ALL_POINTS // max(1, len(view.losses))))
    found = [view.losses.get(trial.trial_id) for trial in view.trials]
    return [None if not one else _curve(one, -(-len(one) // most)) for one in found]


def _curve(losses: Sequence[float | None], width: int) -> list[Any]:
    parts = [[x for x in losses[i : i + width] if is_number(x)] for i in range(0, len(losses), width)]
    return [width, [float(f"{sum(part) / len(part):.4g}") if part else None for part in parts]]


def _samples(view: SweepView, trial_id: str) -> list[dict[str, Any]]:
    return [asdict(one) for one in view.samples[trial_id]]
