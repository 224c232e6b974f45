"""From a sweep's folder to its findings, and those as plain data: `comparison.json`."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omsweep.results.comparison.estimate import Estimate
from omsweep.results.comparison.findings import Findings, findings
from omsweep.results.comparison.headline import Comparison
from omsweep.results.comparison.measures import MEASURES, RUN_MEASURES
from omsweep.results.comparison.points import Block
from omsweep.results.comparison.question import Question, question_of
from omsweep.results.comparison.trials import block_of, read_points
from omsweep.results.front import label_of
from omsweep.results.numbers import INTERVAL_LEVEL
from omsweep.results.objectives import Objectives
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TrialRecord

UNITS = {measure.name: measure.unit for measure in (*MEASURES.values(), *RUN_MEASURES)}
COLUMNS = ("kind", "task", "category", "item_id", "split", "decoder", "score", "kl")
"""What is read of a table of scores; completions stay on the disk."""


def read_findings(folder: SweepFolder, resolved: Mapping[str, Any], trials: Sequence[TrialRecord]) -> Findings | None:
    """What the sweep answers: None where nothing was asked (`objectives.tax_limit`), reasons where it cannot."""
    question = question_of(resolved)
    if question is None:
        return None
    runs = [trial for trial in trials if trial.kind == "trained" and not trial.baseline]
    labels, missing = _comparable(question, runs)
    missing = [*question.missing, *missing]
    if not question.both_splits or len(labels) < 2:
        return Findings(question=question, missing=tuple(missing))
    try:
        points = read_points(trials, *_tables(folder), labels=labels, grids=question.grids)
    except ValueError as error:
        return Findings(question=question, missing=(*missing, f"everything: {error}"))
    objectives = Objectives.from_settings(resolved.get("objectives") or {})
    return findings(points, question, objectives, missing, _displacement(question, runs))


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


def _displacement(question: Question, runs: Sequence[TrialRecord]) -> dict[tuple[str, str], float]:
    """By family and label the mean over blocks of a run's displacement over that of the baseline's run."""
    moved: dict[Block, dict[str, float]] = {}
    for run in runs:
        if distance := run.diagnostics.get("displacement"):
            moved.setdefault(block_of(run), {})[label_of(run)] = distance
    ratios: dict[tuple[str, str], list[float]] = {}
    for (family, *_), by_label in moved.items():
        for label, distance in by_label.items() if question.baseline in by_label else ():
            ratios.setdefault((family, label), []).append(distance / by_label[str(question.baseline)])
    return {key: statistics.fmean(values) for key, values in ratios.items()}


def _comparable(question: Question, runs: Sequence[TrialRecord]) -> tuple[list[str], list[str]]:
    """Labels that were trained in the same blocks, and why others are not among them."""
    blocks: dict[str, set[Block]] = {label: set() for label in question.labels}
    for run in runs:
        blocks.setdefault(label_of(run), set()).add(block_of(run))
    without = [label for label in question.labels if not blocks[label]]
    said = [f"comparisons with {', '.join(without)}: no run has ended"] if without else []
    unpaired = [c for c in question.controls if blocks[c.label] and not blocks[c.label] & blocks[c.online]]
    own = "give the control a branch of its own"
    said += [f"{c.online} against {c.label}: never in one block; {own}" for c in unpaired]
    apart = {*without, *(control.label for control in unpaired)}
    return [label for label in question.labels if label not in apart], said


def as_json(found: Findings, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The findings of a resolved space as plain data; numbers that do not exist are NaN or infinite here."""
    question = found.question
    return {
        "tax_limit": question.tax_limit,
        "evaluate": resolved.get("evaluate"),
        "kl_limits": {family: limits.kl for family, limits in found.limits.items()} if found.kl_matched else None,
        "chosen_on": "search",
        "read_on": "report",
        "interval": INTERVAL_LEVEL,
        "baseline": question.baseline,
        "online": list(question.online),
        "blocks": found.block_counts,
        "left_out": [list(block) for block in found.left_out],
        "not_shown": list(found.missing),
        "headline": [_line(line) for line in found.headline],
        "controls": [_line(line) for line in found.controls],
        "runs": [{key: value for key, value in _line(line).items() if key in RUN_KEYS} for line in found.runs],
        "arms": [
            {
                **vars(arm.choice),
                "displacement_over_baseline": found.displacement.get((arm.choice.family, arm.choice.arm)),
                "front_probability": arm.front_probability,
                "hypervolume": arm.hypervolume.value,
                **_sureness(arm.hypervolume),
                "attainment_surface": arm.surface,
            }
            for arm in found.arms
        ],
        "variance": [
            {**vars(spread), "components": vars(spread.components), "measure": "reward_at_tax"}
            for spread in found.spreads
        ],
    }


RUN_KEYS = ("measure", "unit", "family", "arm", "against", "difference", "low", "high", "blocks")
"""What is said of a difference that is not judged."""


def _line(line: Comparison) -> dict[str, Any]:
    return {
        "measure": line.measure,
        "unit": UNITS[line.measure],
        "family": line.family,
        "arm": line.arm,
        "against": line.against,
        "difference": line.estimate.value,
        **_sureness(line.estimate),
        "blocks": line.blocks,
        "both_sft": line.both_sft,
        "candidates": list(line.candidates),
        "p_value": line.estimate.p_value,
        "adjusted_p": line.adjusted_p,
        "verdict": line.verdict,
    }


def _sureness(estimate: Estimate) -> dict[str, Any]:
    low, high = estimate.interval(INTERVAL_LEVEL)
    return {
        "low": low,
        "high": high,
        "standard_error": estimate.standard_error,
        "degrees_of_freedom": estimate.degrees_of_freedom,
        "outermost": estimate.outermost,
        "units": estimate.units,
    }
