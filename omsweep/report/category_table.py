"""The page's tables of category scores: the SFT model's, and how far each policy moved from them."""

from collections.abc import Mapping, Sequence
from statistics import median

from omsweep.report.cells import Cell, Column, Row, Table, number, plain
from omsweep.report.styles import GAIN, LOSS, colours_of
from omsweep.results.front import label_of
from omsweep.results.numbers import Z95, fixed, is_number
from omsweep.results.view import SweepView
from omsweep.store.records import TrialRecord

STRONGEST = 0.6
MOST_ROWS = 40
WEAKEST_SCALE = 4.0
"""Points that get the strongest colour, unless some category moved further."""


def category_table(view: SweepView, family: str) -> Table:
    """One family's categories: policy minus SFT model in points, or scores alone where no SFT score is known.

    The front's members come first; `MOST_ROWS` trials are shown.
    """
    trials = [trial for trial in view.scored(family) if trial.scores]
    categories = sorted({name for trial in trials for name in trial.scores})
    references = view.reference_scores(family)
    names = {seed: f"SFT model {seed}, %" if len(references) > 1 else "SFT model, %" for seed in references}
    rows = [_reference_row(categories, reference, names[seed]) for seed, reference in references.items()]
    moved = (abs(d) for t in trials for d in _deltas(t, references.get(t.sft_seed, {})).values())
    scale = max([WEAKEST_SCALE, *moved])
    trials.sort(key=lambda trial: trial.trial_id not in view.member_ids)
    shown = trials[:MOST_ROWS]
    places = {trial.trial_id: i for i, trial in enumerate(view.trials)}
    rows += [
        Row(cells=_cells(view, categories, t, references.get(t.sft_seed, {}), scale), trial=places[t.trial_id])
        for t in shown
    ]
    return Table(
        label=f"Category scores of {family}",
        columns=[
            Column(title="trial", numeric=False, pinned=True),
            Column(title="label", numeric=False),
            Column(title="algorithm", numeric=False),
            *(Column(title=name.replace("_", " ")) for name in categories),
            Column(title="average", first_of_group=True, hint="mean over the categories"),
        ],
        rows=rows,
    )


def category_noise(view: SweepView, family: str) -> float | None:
    """About the half-width of one category's 95 % interval in points, None when it cannot be told.

    1.96 x median item standard error of the tax x sqrt(number of categories): right for equally large categories.
    """
    trials = [t for t in view.scored(family) if is_number(t.tax_se_items) and t.scores]
    if not trials:
        return None
    return Z95 * median(t.tax_se_items or 0.0 for t in trials) * len(trials[0].scores) ** 0.5


def _reference_row(categories: Sequence[str], reference: Mapping[str, float], name: str) -> Row:
    scores = [_percent(reference.get(category)) for category in categories]
    known = [score for score in scores if score is not None]
    average = sum(known) / len(known) if known else None
    return Row(cells=[Cell(name), Cell(), Cell(), *(Cell(fixed(s, 1)) for s in (*scores, average))], reference=True)


def _cells(
    view: SweepView, categories: Sequence[str], trial: TrialRecord, reference: Mapping[str, float], scale: float
) -> list[Cell]:
    label = label_of(trial)
    cells = [
        plain(trial.trial_id, code=True, starred=trial.trial_id in view.member_ids),
        plain(label, swatch=colours_of(view.labels)[label]),
        plain(trial.algorithm),
    ]
    if reference:
        deltas = _deltas(trial, reference)
        average = sum(deltas.values()) / len(deltas) if deltas else None
        cells += [_delta_cell(delta, scale) for delta in (*map(deltas.get, categories), average)]
    else:
        scores = [_percent(trial.scores.get(name)) for name in categories]
        cells += [number(score, 1) for score in (*scores, trial.benchmark_average)]
    return cells


def _percent(score: float | None) -> float | None:
    return 100 * score if is_number(score) else None


def _deltas(trial: TrialRecord, reference: Mapping[str, float]) -> dict[str, float]:
    """Policy minus SFT model in points, for the categories both have."""
    both = ((name, score, reference.get(name)) for name, score in trial.scores.items())
    return {n: 100 * (after - before) for n, after, before in both if after is not None and before is not None}


def _delta_cell(delta: float | None, scale: float) -> Cell:
    if delta is None:
        return Cell()
    colour = ",".join(str(channel) for channel in (GAIN if delta > 0 else LOSS))
    strength = STRONGEST * min(1.0, abs(delta) / scale)
    return number(delta, 1, signed=True, shade=f"rgba({colour},{strength:.2f})")
