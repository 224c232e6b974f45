"""The page's tables of category scores: the SFT model's, and how far each policy moved from them."""

from collections.abc import Mapping, Sequence
from statistics import median

from omsweep.report.markup import Column, cell, sort_key, swatch, table, text
from omsweep.report.styles import GAIN, LOSS, colours_of
from omsweep.results.front import label_of
from omsweep.results.numbers import Z95, fixed, is_number
from omsweep.results.view import SweepView
from omsweep.store.records import TrialRecord

STRONGEST = 0.6
WEAKEST_SCALE = 4.0
"""Points that get the strongest colour, unless some category moved further."""


def category_table(view: SweepView, family: str) -> str:
    """One family's categories: policy minus SFT model in points, or scores alone where no SFT score is known."""
    trials = [trial for trial in view.scored(family) if trial.scores]
    categories = sorted({name for trial in trials for name in trial.scores})
    references = view.reference_scores(family)
    members = view.member_ids
    columns = [
        Column(title="trial", numeric=False, pinned=True),
        Column(title="label", numeric=False),
        Column(title="algorithm", numeric=False),
        *(Column(title=name.replace("_", " ")) for name in categories),
        Column(title="average", first_of_group=True, hint="mean over the categories"),
    ]
    rows = []
    for sft_seed, reference in references.items():
        name = f"SFT model {sft_seed}, %" if len(references) > 1 else "SFT model, %"
        rows.append(_reference_row(columns, categories, reference, name))
    moved = (abs(d) for t in trials for d in _deltas(t, references.get(t.sft_seed, {})).values())
    scale = max([WEAKEST_SCALE, *moved])
    for trial in sorted(trials, key=lambda trial: trial.trial_id not in members):
        reference = references.get(trial.sft_seed, {})
        rows.append(_trial_row(view, columns, categories, trial, reference, scale))
    return table(columns, rows, label=f"Category scores of {family}")


def category_noise(view: SweepView, family: str) -> float | None:
    """About the half-width of one category's 95 % interval in points, None when it cannot be told.

    1.96 x median item standard error of the tax x sqrt(number of categories): right for equally large categories.
    """
    trials = [t for t in view.scored(family) if is_number(t.tax_se_items) and t.scores]
    if not trials:
        return None
    return Z95 * median(t.tax_se_items or 0.0 for t in trials) * len(trials[0].scores) ** 0.5


def _reference_row(
    columns: Sequence[Column], categories: Sequence[str], reference: Mapping[str, float], name: str
) -> str:
    scores = [reference.get(name) for name in categories]
    known = [100 * score for score in scores if is_number(score)]
    shown = [text(fixed(None if score is None else 100 * score, 1)) for score in scores]
    average = text(fixed(sum(known) / len(known), 1)) if known else ""
    cells = [cell(name, columns[0]), cell("", columns[1]), cell("", columns[2])]
    cells += [cell(content, column) for content, column in zip([*shown, average], columns[3:], strict=True)]
    return f'<tr class="reference">{"".join(cells)}</tr>'


def _trial_row(
    view: SweepView,
    columns: Sequence[Column],
    categories: Sequence[str],
    trial: TrialRecord,
    reference: Mapping[str, float],
    scale: float,
) -> str:
    star = '<span class="star" title="on the front">★</span> ' if trial.trial_id in view.member_ids else ""
    label = label_of(trial)
    cells = [
        cell(f"{star}<code>{text(trial.trial_id)}</code>", columns[0], trial.trial_id),
        cell(swatch(colours_of(view.labels)[label]) + text(label), columns[1], label),
        cell(text(trial.algorithm or ""), columns[2], trial.algorithm),
    ]
    deltas = _deltas(trial, reference)
    for name, column in zip(categories, columns[3:], strict=False):
        if reference:
            cells.append(_delta_cell(deltas.get(name), column, scale))
        else:
            score = trial.scores.get(name)
            percent = 100 * score if is_number(score) else None
            cells.append(cell(text(fixed(percent, 1)), column, sort_key(percent)))
    average = sum(deltas.values()) / len(deltas) if deltas else None
    cells.append(
        _delta_cell(average, columns[-1], scale)
        if reference
        else cell(text(fixed(trial.benchmark_average, 1)), columns[-1], sort_key(trial.benchmark_average))
    )
    attributes = f'data-label="{text(label)}" data-algorithm="{text(trial.algorithm or "none")}"'
    return f"<tr {attributes}>{''.join(cells)}</tr>"


def _deltas(trial: TrialRecord, reference: Mapping[str, float]) -> dict[str, float]:
    """Policy minus SFT model in points, for the categories both have."""
    found = {}
    for name, score in trial.scores.items():
        before = reference.get(name)
        if score is not None and before is not None:
            found[name] = 100 * (score - before)
    return found


def _delta_cell(delta: float | None, column: Column, scale: float) -> str:
    if delta is None:
        return cell("", column)
    colour = ",".join(str(channel) for channel in (GAIN if delta > 0 else LOSS))
    strength = STRONGEST * min(1.0, abs(delta) / scale)
    style = f"background:rgba({colour},{strength:.2f})"
    return cell(text(fixed(delta, 1, signed=True)), column, sort_key(delta), style=style)
