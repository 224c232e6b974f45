"""A study as tables: rewards, taxes and paired differences; category scores."""

from collections.abc import Sequence

from omsweep.report.cells import Cell
from omsweep.report.text_table import TextTable, latex, markdown
from omsweep.results.comparison.estimate import Estimate
from omsweep.results.numbers import INTERVAL_LEVEL, MISSING, fixed, is_number, short
from omsweep.results.study import DIFFERENCES, Level, StudyResult, StudyRow
from omsweep.results.view import SweepView

UNITS = {"sft_seed": "SFT seeds", "run": "runs (blocks x training seeds)"}

EXPLORATORY = (
    "Exploratory: no winner is claimed. Each interval holds for its own number, uncorrected for how many there are."
)


def study_tables(view: SweepView, result: StudyResult) -> list[TextTable]:
    """The tables of a study, in order."""
    main = _main_table(view, result)
    return [main, _category_table(result)] if result.categories else [main]


def study_markdown(view: SweepView, result: StudyResult) -> str:
    """The content of `study.md`, and what `omsweep report` prints."""
    tables = "\n".join(markdown(table) for table in study_tables(view, result))
    return f"## {result.study.title}: sweep {view.name}\n\n{tables}"


def study_latex(view: SweepView, result: StudyResult) -> str:
    """The content of `study.tex`: its tables; needs the packages `booktabs` and `graphicx`."""
    head = f"% {result.study.title}: sweep {view.name}. Needs \\usepackage{{booktabs}} and \\usepackage{{graphicx}}.\n"
    return "\n".join([head, *(latex(table) for table in study_tables(view, result))])


def half_width(estimate: Estimate) -> float | None:
    """Half of the interval's width, None where nothing was repeated."""
    low, high = estimate.interval(INTERVAL_LEVEL)
    half = (high - low) / 2
    return half if is_number(half) else None


def level_text(level: Level) -> str:
    """A level as it stands in a row."""
    return MISSING if level is None else short(level)


def interval_note(result: StudyResult) -> str:
    """What ± covers in this study."""
    means = [estimate for row in result.rows for estimate in row.values.values()]
    units = sorted({(e.outermost, e.units) for e in means if e.outermost is not None}, key=str)
    if not units:
        return "One run per row: no interval, how far seeds scatter is unknown."
    shown = " or ".join(f"{count} {UNITS.get(str(unit), unit)}" for unit, count in units)
    return (
        f"± is the half-width of a {100 * INTERVAL_LEVEL:.0f} % t interval over {shown}; it holds whatever differs"
        " between runs, drawn settings included, and not the choice of items."
    )


def _main_table(view: SweepView, result: StudyResult) -> TextTable:
    reward, tax = view.objectives.reward, view.objectives.tax
    against = [f"{name} minus {result.baseline}" for name in DIFFERENCES] if result.baseline else []
    columns = [
        *("family", "recipe", *_axis(result), "runs"),
        f"reward ({result.split} split)",
        f"tax, points ({result.split} split)",
        *against,
        f"KL, nats ({result.split} split)",
        "benchmark average (search split)",
        "tau_travel",
    ]
    rows = [_main_row(result, row) for row in result.rows]
    notes = [EXPLORATORY, interval_note(result), *_missing_notes(result)]
    if (reward.name, tax.name) != DIFFERENCES:
        notes.append(f"The sweep's objectives are {reward.name} and {tax.name}; these tables show reward and tax.")
    return TextTable(title="Reward and tax", columns=columns, rows=rows, words=2, notes=notes)


def _main_row(result: StudyResult, row: StudyRow) -> list[str | Cell]:
    against = [mean_cell(row.differences.get(name), signed=True) for name in DIFFERENCES] if result.baseline else []
    return [
        *_place(result, row),
        str(row.runs) if row.runs == row.trials else f"{row.runs} of {row.trials}",
        mean_cell(row.values.get("reward"), signed=True),
        mean_cell(row.values.get("tax"), signed=True),
        *against,
        mean_cell(row.values.get("kl")),
        mean_cell(row.values.get("benchmark_average"), digits=1),
        short(row.values["tau_travel"].value) if "tau_travel" in row.values else MISSING,
    ]


def _category_table(result: StudyResult) -> TextTable:
    rows = [
        [*_place(result, row), *(mean_cell(row.scores.get(n), digits=1, scale=100) for n in result.categories)]
        for row in result.rows
    ]
    columns = ["family", "recipe", *_axis(result), *(name.replace("_", " ") for name in result.categories)]
    return TextTable(title="Scores by category, % (search split)", columns=columns, rows=rows, words=2)


def _axis(result: StudyResult) -> list[str]:
    """The heading of the levels; none where recipes alone are compared."""
    return [] if result.study.axis == "label" else [str(result.study.axis)]


def _place(result: StudyResult, row: StudyRow) -> list[str | Cell]:
    return [row.family, row.recipe, *(level_text(row.level) for _ in _axis(result))]


def mean_cell(mean: Estimate | None, *, digits: int = 2, signed: bool = False, scale: float = 1.0) -> Cell:
    """`+0.61 ± 0.09`; the mean alone where nothing was repeated."""
    if mean is None:
        return Cell(MISSING)
    half = half_width(mean)
    error = "" if half is None else fixed(scale * half, digits)
    return Cell(fixed(scale * mean.value, digits, signed=signed), error=error)


def _missing_notes(result: StudyResult) -> Sequence[str]:
    notes = []
    if result.baseline is None:
        notes.append("No branch trains with AdamW, so there is nothing to take differences to.")
    if any(row.differences and row.pairs < row.runs for row in result.rows):
        notes.append(f"Differences are over the blocks in which {result.baseline} ended with scores too.")
    others = list(dict.fromkeys(name for row in result.rows for name in row.other_levels))
    if others:
        notes.append(
            f"Where no {result.baseline} run shares a row's level of {' or '.join(others)}, the difference is to the"
            f" block's only {result.baseline} run, which has another."
        )
    if any(row.runs < row.trials for row in result.rows):
        notes.append(
            "Where fewer runs than were started ended with scores, the others diverged or failed, and the means are"
            " over those that did not: too good a picture of that row."
        )
    return notes
