"""A study as tables: rewards, taxes and paired differences; category scores; the paper's figures apart."""

from collections.abc import Mapping, Sequence

from omsweep.evaluation.comparison.estimate import Estimate
from omsweep.report.comparison_formats import Cell, Table, latex, markdown
from omsweep.report.numbers import MISSING, fixed, is_number, short
from omsweep.report.paper_figures import CURVES, paper_table
from omsweep.report.study import DIFFERENCES, Level, StudyResult, StudyRow
from omsweep.report.view import SweepView

LEVEL = 0.9
"""Of the intervals."""

UNITS = {"sft_seed": "SFT seeds", "run": "runs (blocks x training seeds)"}

EXPLORATORY = (
    "Exploratory: no winner is claimed. Each interval holds for its own number, uncorrected for how many there are."
)


def study_tables(view: SweepView, result: StudyResult) -> list[Table]:
    """The tables of a study, in order."""
    tables = [_main_table(view, result)]
    if result.categories:
        tables.append(_category_table(result))
    paper = paper_table(result.study.name)
    return [*tables, *([paper] if paper else [])]


def study_markdown(view: SweepView, result: StudyResult) -> str:
    """The content of `study.md`, and what `omsweep report` prints."""
    tables = "\n".join(markdown(table) for table in study_tables(view, result))
    return f"# {result.study.title}: sweep {view.name}\n\n{tables}"


def study_latex(view: SweepView, result: StudyResult) -> str:
    """The content of `study.tex`: its tables; needs the packages `booktabs` and `graphicx`."""
    head = f"% {result.study.title}: sweep {view.name}. Needs \\usepackage{{booktabs}} and \\usepackage{{graphicx}}.\n"
    return "\n".join([head, *(latex(table) for table in study_tables(view, result))])


def half_width(estimate: Estimate) -> float | None:
    """Half of the interval's width, None where nothing was repeated."""
    low, high = estimate.interval(LEVEL)
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
        f"± is the half-width of a {100 * LEVEL:.0f} % t interval over {shown}; it holds whatever differs between"
        " runs, drawn settings included, and not the choice of items."
    )


def _main_table(view: SweepView, result: StudyResult) -> Table:
    against = [f"{name} minus {result.baseline}" for name in DIFFERENCES] if result.baseline else []
    names = [
        "runs",
        f"reward ({result.split} split)",
        f"tax, points ({result.split} split)",
        *against,
        f"KL, nats ({result.split} split)",
        "benchmark average (search split)",
        "tau_travel",
    ]
    notes = [EXPLORATORY, interval_note(result), *_missing_notes(result), *_curve_notes(result.study.name)]
    if (view.objectives.reward.name, view.objectives.tax.name) != DIFFERENCES:
        notes.append("The sweep's own objectives are others; these tables show reward and tax.")
    return Table(
        name=result.study.name,
        title="Reward and tax",
        columns=[*_places(result), *names],
        numeric=[False] * len(_places(result)) + [True] * len(names),
        rows=[_place_cells(result, row) + _main_cells(result, row) for row in result.rows],
        notes=notes,
    )


def _main_cells(result: StudyResult, row: StudyRow) -> list[Cell]:
    against = [_cell(row.differences, name, signed=True) for name in DIFFERENCES] if result.baseline else []
    travel = row.values.get("tau_travel")
    return [
        Cell(value=str(row.runs) if row.runs == row.trials else f"{row.runs} of {row.trials}"),
        _cell(row.values, "reward", signed=True),
        _cell(row.values, "tax", signed=True),
        *against,
        _cell(row.values, "kl"),
        _cell(row.values, "benchmark_average", digits=1),
        Cell(value=short(travel.value) if travel else ""),
    ]


def _category_table(result: StudyResult) -> Table:
    names = result.categories
    return Table(
        name=f"{result.study.name}-categories",
        title="Scores by category, % (search split)",
        columns=[*_places(result), *(name.replace("_", " ") for name in names)],
        numeric=[False] * len(_places(result)) + [True] * len(names),
        rows=[
            _place_cells(result, row) + [_cell(row.scores, name, digits=1, scale=100) for name in names]
            for row in result.rows
        ],
    )


def _places(result: StudyResult) -> list[str]:
    """The columns that say which row it is."""
    return ["family", "recipe", *([] if result.study.axis == "label" else [str(result.study.axis)])]


def _place_cells(result: StudyResult, row: StudyRow) -> list[Cell]:
    level = [] if result.study.axis == "label" else [Cell(value="" if row.level is None else level_text(row.level))]
    return [Cell(value=row.family), Cell(value=row.recipe), *level]


def _cell(means: Mapping[str, Estimate], name: str, *, digits: int = 2, signed: bool = False, scale: float = 1) -> Cell:
    """A mean and its interval; the mean alone where nothing was repeated."""
    if name not in means:
        return Cell()
    half = half_width(means[name])
    mean = fixed(scale * means[name].value, digits, signed=signed)
    return Cell(value=mean, sureness="" if half is None else f"± {fixed(scale * half, digits)}")


def _missing_notes(result: StudyResult) -> Sequence[str]:
    lost = [row for row in result.rows if row.runs < row.trials]
    notes = []
    if result.baseline is None:
        notes.append("No branch trains with AdamW, so there is nothing to take differences to.")
    if any(row.differences and row.pairs < row.runs for row in result.rows):
        notes.append(f"Differences are over the blocks in which {result.baseline} ended with scores too.")
    if lost:
        notes.append(
            "Where fewer runs than were started ended with scores, the others diverged or failed, and the means are"
            " over those that did not: too good a picture of that row."
        )
    return notes


def _curve_notes(study: str) -> Sequence[str]:
    return [CURVES[study]] if study in CURVES else []
