"""What a study found: per family, recipe and level of its axis the means over runs, and the paired difference to AdamW.

A block is a family's SFT model, draws and training seed; levels and methods of a block are paired. Means and intervals
are those of `block_mean`, over SFT seeds and the runs in them. Reads the records alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from omsweep.merging.methods import BASELINE_METHOD
from omsweep.results.comparison.clusters import block_mean
from omsweep.results.comparison.estimate import Estimate
from omsweep.results.comparison.points import Block
from omsweep.results.comparison.trials import block_of
from omsweep.results.front import is_scored, label_of
from omsweep.results.numbers import is_number, short
from omsweep.results.view import SweepView
from omsweep.space.studies import STUDIES, Study
from omsweep.store.records import TrialRecord

ON_BOTH_SPLITS = ("reward", "tax", "kl")
"""Numbers that are read from the report split where every run has them there."""
VALUES = ("reward", "tax", "benchmark_average", "kl", "tau_travel")
DIFFERENCES = ("reward", "tax")

Level = float | int | str | None
Key = tuple[str, str, Level]
"""Family, recipe and level of a row."""


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One level of one recipe in one family.

    Args:
        family: its name.
        recipe: the branch, with the levels of crossed knobs other than the axis.
        level: of the axis; None where the recipe does not have it.
        runs: trials with both objectives, which the means are over.
        trials: all that ended, diverged and failed ones too.
        values: means of `VALUES`; a number no run has is left out.
        scores: means by category, shares.
        differences: of `DIFFERENCES`, this row's minus the baseline's in the same block; empty without pairs.
        pairs: blocks that the differences are over.
        other_levels: crossed knobs of which the baseline's run of some pair has another level.
    """

    family: str
    recipe: str
    level: Level
    runs: int
    trials: int
    values: Mapping[str, Estimate]
    scores: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    pairs: int
    other_levels: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """All rows of a study; `split` is where `ON_BOTH_SPLITS` were read, `baseline` the branch of the differences."""

    study: Study
    split: str
    baseline: str | None
    rows: Sequence[StudyRow]

    @property
    def families(self) -> list[str]:
        """Families that have rows, in order."""
        return list(dict.fromkeys(row.family for row in self.rows))

    @property
    def recipes(self) -> list[str]:
        """Recipes that have rows, in order."""
        return list(dict.fromkeys(row.recipe for row in self.rows))

    @property
    def categories(self) -> list[str]:
        """Categories scored in any row, in alphabetical order."""
        return sorted({name for row in self.rows for name in row.scores})


def asked_study(view: SweepView) -> Study | None:
    """The study whose table the sweep's space asks for, None for none."""
    name = (view.resolved.get("report") or {}).get("study")
    return STUDIES.get(name) if name else None


def study_result(view: SweepView, study: Study) -> StudyResult:
    """Every row of a study from the trials that have ended."""
    trials = [t for t in view.trials if not t.baseline and (t.kind == "trained" or study.axis == "label")]
    scored = [t for t in trials if is_scored(t, view.objectives)]
    on_report = bool(scored) and all(_read(t, name, "report") is not None for t in scored for name in DIFFERENCES)
    split = "report" if on_report else "search"
    baseline = _baseline(view, trials)
    grouped: dict[Key, list[TrialRecord]] = {}
    for trial in trials:
        grouped.setdefault(_key(view, study, trial), []).append(trial)
    of_baseline = [t for t in scored if t.kind == "trained" and _origin(view, t) == baseline]
    partner = _partners(view.crossed, of_baseline, baseline)
    rows = []
    for key in sorted(grouped, key=partial(_order, view, grouped)):
        alive = [t for t in grouped[key] if is_scored(t, view.objectives)]
        pairs = [(t, p) for t in alive if t not in of_baseline and (p := partner(t)) is not None]
        other = [name for name in view.crossed if any(not _share(t, p, name) for t, p in pairs)]
        rows.append(_row(key, grouped[key], alive, pairs, other, split))
    return StudyResult(study=study, split=split, baseline=baseline, rows=rows)


def _origin(view: SweepView, trial: TrialRecord) -> str:
    """The branch of the file that a trial belongs to: the longest that its label begins with."""
    label = label_of(trial)
    found = [b for b in view.branches if label == b or label.startswith((f"{b}-", f"{b}+", f"{b}/"))]
    return max(found, key=len, default=label)


def _key(view: SweepView, study: Study, trial: TrialRecord) -> Key:
    """The row a trial belongs to; a post-hoc point is a recipe of its own, by its place in its grid."""
    if study.axis == "label":
        point = trial.trial_id.removeprefix(trial.parent or "") if trial.kind == "posthoc" else ""
        return trial.family, label_of(trial) + point, None
    held = [name for name in view.crossed if name not in (study.axis, study.also)]
    levels = [f"{name} {setting(trial, name)}" for name in held if setting(trial, name) is not None]
    control = "" if trial.task_vector == "real" else f"/{trial.task_vector}"
    level = setting(trial, str(study.axis))
    rounded = float(f"{level:.6g}") if isinstance(level, float) else level
    return trial.family, ", ".join([_origin(view, trial) + control, *levels]), rounded


def _order(view: SweepView, grouped: Mapping[Key, Sequence[TrialRecord]], key: Key) -> tuple[int, int, int, float, str]:
    """Families and branches as in the file, recipes as they were met, levels from small to large."""
    family, recipe, level = key
    origin = _origin(view, grouped[key][0])
    branch = view.branches.index(origin) if origin in view.branches else len(view.branches)
    first = [name for _, name, _ in grouped].index(recipe)
    return view.families.index(family), branch, first, level if is_number(level) else 0.0, str(level)


def setting(trial: TrialRecord, name: str) -> Any:
    """A knob's value in a trial, None where its method does not take it."""
    return trial.algorithm if name == "algorithm" else trial.params.get(name)


def _baseline(view: SweepView, trials: Sequence[TrialRecord]) -> str | None:
    """The branch that rows are compared with: `adamw`, else the first whose method it is."""
    branches = dict.fromkeys(_origin(view, t) for t in trials if t.method == BASELINE_METHOD and t.kind == "trained")
    return BASELINE_METHOD if BASELINE_METHOD in branches else next(iter(branches), None)


def _partners(
    crossed: Sequence[str], baselines: Iterable[TrialRecord], branch: str | None
) -> Callable[[TrialRecord], TrialRecord | None]:
    """Trial -> the baseline's of its block with the same levels of the crossed knobs that both have.

    Where the baseline's branch has no levels, so that each block has one run of it by design, that one stands in for a
    level it does not share. A run that is the only one left of several levels does not.
    """
    by_block: dict[Block, list[TrialRecord]] = {}
    for trial in baselines:
        by_block.setdefault(block_of(trial), []).append(trial)

    def partner(trial: TrialRecord) -> TrialRecord | None:
        met = by_block.get(block_of(trial), [])
        alike = [other for other in met if all(_share(trial, other, name) for name in crossed)]
        found = alike or [other for other in met if label_of(other) == branch]
        return found[0] if len(found) == 1 else None

    return partner


def _share(trial: TrialRecord, other: TrialRecord, name: str) -> bool:
    """Whether two trials have the same level of a knob, or one of them none."""
    return setting(trial, name) is None or setting(other, name) in (None, setting(trial, name))


def _row(
    key: Key,
    trials: Sequence[TrialRecord],
    alive: Sequence[TrialRecord],
    pairs: Sequence[tuple[TrialRecord, TrialRecord]],
    other_levels: Sequence[str],
    split: str,
) -> StudyRow:
    categories = sorted({name for trial in alive for name in trial.scores})
    gaps = {}
    for name in DIFFERENCES:
        both = [(t, _read(t, name, split), _read(p, name, split)) for t, p in pairs]
        gaps[name] = [(t, a - b if a is not None and b is not None else None) for t, a, b in both]
    return StudyRow(
        family=key[0],
        recipe=_recipe_text(key[1], trials),
        level=key[2],
        runs=len(alive),
        trials=len(trials),
        values=_means({name: [(t, _read(t, name, split)) for t in alive] for name in VALUES}),
        scores=_means({name: [(t, t.scores.get(name)) for t in alive] for name in categories}),
        differences=_means(gaps),
        pairs=len(pairs),
        other_levels=other_levels,
    )


def _recipe_text(recipe: str, trials: Sequence[TrialRecord]) -> str:
    """The recipe; of post-hoc points what merges them, in place of their number."""
    settings = [t.params.get("posthoc") or {} for t in trials if t.kind == "posthoc"]
    if not settings:
        return recipe
    first = settings[0]
    if first.get("travel_of"):
        return f"{label_of(trials[0])} (weight: to the travel of {first['travel_of']})"
    named = {name: value for name, value in first.items() if name != "method" and (name != "seed" or value)}
    shown = [f"{name} {short(value)}" for name, value in named.items() if value is not None]
    return f"{label_of(trials[0])} ({', '.join(shown)})"


def _read(trial: TrialRecord, name: str, split: str) -> float | None:
    field = f"{name}_report" if split == "report" and name in ON_BOTH_SPLITS else name
    value = trial.diagnostics.get(name) if name == "tau_travel" else getattr(trial, field)
    return value if is_number(value) else None


def _means(found: Mapping[str, Sequence[tuple[TrialRecord, float | None]]]) -> dict[str, Estimate]:
    """The mean of each number that any of its trials has."""
    known = {name: [(t, value) for t, value in of_name if value is not None] for name, of_name in found.items()}
    return {
        name: block_mean([[value] for _, value in pairs], [block_of(trial) for trial, _ in pairs])
        for name, pairs in known.items()
        if pairs
    }
