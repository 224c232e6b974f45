"""From a sweep's folder to its findings, and those as plain data: `comparison.json`."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omsweep.results.comparison.contrasts import ALPHA, UNITS, Line
from omsweep.results.comparison.estimate import Estimate
from omsweep.results.comparison.findings import Findings, findings
from omsweep.results.comparison.points import Points
from omsweep.results.comparison.question import Question, question_of
from omsweep.results.comparison.trials import read_points
from omsweep.results.numbers import INTERVAL_LEVEL
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TrialRecord

COLUMNS = ("kind", "task", "category", "item_id", "split", "decoder", "score", "kl")
"""What is read of a table of scores; completions stay on the disk."""
MOVED = ("travel", "residual", "displacement", "tau_travel")
"""Diagnostics of where a policy ended, shown beside the rungs."""


def read_findings(folder: SweepFolder, resolved: Mapping[str, Any], trials: Sequence[TrialRecord]) -> Findings | None:
    """What the sweep answers: None where nothing was asked (section `comparison`), reasons where it cannot."""
    question = question_of(resolved)
    if question is None:
        return None
    runs = {trial.label for trial in trials if trial.kind == "trained"}
    without = [label for label in question.labels if label not in runs]
    if without:
        return Findings(question=question, missing=(*question.missing, f"no run of {', '.join(without)} has ended"))
    try:
        points = points_of(folder, question, trials)
    except ValueError as error:
        return Findings(question=question, missing=(*question.missing, f"everything: {error}"))
    open_ = _unfinished(question, points)
    missing = (*question.missing, *open_)
    return findings(points, question, missing, moved_of(question, trials), final=not open_)


def _unfinished(question: Question, points: Points) -> list[str]:
    """What is still to come, by family; verdicts wait for it."""
    planned = question.sft_seeds * question.runs
    ended = Counter(family for family, _, _ in (*points.blocks, *points.left_out))
    return [
        f"verdicts: {ended[family]} of {planned} blocks of {family} have ended"
        for family in question.families
        if ended[family] < planned
    ]


def points_of(folder: SweepFolder, question: Question, trials: Sequence[TrialRecord]) -> Points:
    """The policies of a sweep's folder that a question is about; ValueError where they cannot be read."""
    return read_points(trials, *_tables(folder), question)


def interval_of(estimate: Estimate) -> tuple[float, float]:
    """The interval that is shown, infinite where no seed is repeated: item noise is not seed noise."""
    repeated = estimate.outermost not in (None, "item")
    return estimate.interval(INTERVAL_LEVEL) if repeated else (-math.inf, math.inf)


def _tables(folder: SweepFolder) -> tuple[Callable[[str], Any], Callable[[str, int | None], Any]]:
    """Readers of the trials' and the SFT models' tables of scores; they raise ValueError where one is not there."""

    def scores(trial_id: str) -> Any:
        try:
            return folder.scores(trial_id, COLUMNS)
        except FileNotFoundError:
            raise ValueError(f"the scores of {trial_id} are not in scores/") from None

    def reference(family: str, sft_seed: int | None) -> Any:
        try:
            return folder.reference_scores(family, sft_seed)
        except FileNotFoundError:
            raise ValueError(f"scores of SFT model {sft_seed} of {family} are not in references/") from None

    return scores, reference


def moved_of(question: Question, trials: Sequence[TrialRecord]) -> dict[tuple[str, str, float], dict[str, float]]:
    """By family, arm and dose the means over runs of how far its policies moved (`MOVED`)."""
    found: dict[tuple[str, str, float], list[Mapping[str, float | None]]] = {}
    names = {arm.name for arm in question.arms}
    for trial in trials:
        label, _, grid = str(trial.label).partition("+")
        name = f"{label} + {grid}" if grid else label
        if name in names and trial.diagnostics:
            dose = 1.0 if trial.dose is None else trial.dose
            found.setdefault((trial.family, name, dose), []).append(trial.diagnostics)
    return {
        place: {
            name: statistics.fmean(values)
            for name in MOVED
            if (values := [value for one in each if (value := one.get(name)) is not None])
        }
        for place, each in found.items()
    }


def as_json(found: Findings, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The findings of a resolved space as plain data; numbers that do not exist are NaN or infinite here."""
    question = found.question
    return {
        "tax_limit": question.tax_limit,
        "delta": question.delta,
        "family_wise_error": ALPHA,
        "evaluate": resolved.get("evaluate"),
        "chosen_on": "search",
        "read_on": "report",
        "interval": INTERVAL_LEVEL,
        "baseline": question.baseline.name,
        "contrasts": [[arm.name for arm in pair] for pair in question.contrasts],
        "blocks": found.block_counts,
        "left_out": [list(block) for block in found.left_out],
        "not_shown": list(found.missing),
        "supports": [
            {"arm": pair[0].name, "against": pair[1].name, "family": family, **vars(support)}
            for (pair, family), support in found.supports.items()
        ],
        "lines": [_line(line) for line in found.lines],
        "rungs": [vars(rung) for rung in found.rungs],
        "tracks": [{"family": t.family, "arm": t.arm.name, "tax_reward": t.track} for t in found.tracks],
        "variance": [{**vars(spread), "components": vars(spread.components)} for spread in found.spreads],
    }


def _line(line: Line) -> dict[str, Any]:
    judged = {"p_value": line.estimate.p_value, "adjusted_p": line.adjusted_p, "equivalence_p": line.equivalence_p}
    return {
        "measure": line.measure,
        "unit": UNITS[line.measure],
        "family": line.family,
        "arm": line.arm,
        "against": line.against,
        "difference": line.estimate.value,
        **_sureness(line.estimate),
        "blocks": line.blocks,
        "verdict": line.verdict,
        **(judged if line.verdict is not None else {}),
    }


def _sureness(estimate: Estimate) -> dict[str, Any]:
    low, high = interval_of(estimate)
    return {
        "low": low,
        "high": high,
        "standard_error": estimate.standard_error,
        "degrees_of_freedom": estimate.degrees_of_freedom,
        "outermost": estimate.outermost,
        "units": estimate.units,
    }
