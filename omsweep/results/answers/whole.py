"""All answers of a sweep: the content of `answers.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from omsweep.pareto.uncertainty import paired_front_probability
from omsweep.results.answers.gains import Gain, gains_of, rivals_of
from omsweep.results.answers.health import Finding, Patient, findings_of
from omsweep.results.answers.importance import Importances, importances_of
from omsweep.results.answers.item_noise import ItemNoise, paired_noise
from omsweep.results.answers.picks import Choice, choice_of, reading_of
from omsweep.results.front import with_chances
from omsweep.results.numbers import Z95
from omsweep.results.progress import space_of
from omsweep.results.view import SweepView
from omsweep.store.folder import SweepFolder
from omsweep.store.state import SweepState

PAIRED_OBJECTIVE = "tax"
"""The tax whose errors the tables of scores tell together; those of the corrected ones are not means of items."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a sweep answers; one entry per family, in the sweep's order.

    Attributes:
        choices: what to take.
        gains: by family, what its front has over the SFT model, AdamW and interpolation.
        importances: which knobs matter.
        health: what to beware of.
    """

    choices: Sequence[Choice]
    gains: Mapping[str, Sequence[Gain]]
    importances: Sequence[Importances] = ()
    health: Sequence[Finding] = ()


def with_answers(folder: SweepFolder, view: SweepView, state: SweepState) -> SweepView:
    """The view with all answers, and probabilities of the front from paired noise where tables of scores tell it."""
    noise: dict[str, dict[str, ItemNoise]] = {}
    for family in view.families:
        noise[family] = read_noise(folder, view, family)
        view = with_paired_chances(view, family, noise[family]["search"])
    space = space_of(state)
    gains = {family: gains_of(view, family, noise[family]) for family in view.families}
    patients = [
        Patient(
            family=family,
            view=view,
            trials=[trial for trial in view.trials if trial.family == family],
            state=state,
            space=space,
            gains=gains[family],
        )
        for family in view.families
    ]
    answers = Answers(
        choices=[choice_of(view, family) for family in view.families],
        gains=gains,
        importances=[importances_of(view, family, space) for family in view.families],
        health=[finding for patient in patients for finding in findings_of(patient)],
    )
    return replace(view, answers=answers)


def quick_answers(view: SweepView) -> Answers:
    """What to take and what it beats, from the log alone: errors are standard errors over items."""
    return Answers(
        choices=[choice_of(view, family) for family in view.families],
        gains={family: gains_of(view, family) for family in view.families},
    )


def read_noise(folder: SweepFolder, view: SweepView, family: str) -> dict[str, ItemNoise]:
    """By split how the trials of a family err together that may be on its front, or that it is measured against."""
    if view.objectives.tax.name != PAIRED_OBJECTIVE:
        return {split: ItemNoise(split=split) for split in ("search", "report")}
    chances = view.summary["families"][family]["front_probability"]
    asked = {t.trial_id: t for t in view.scored(family) if chances[t.trial_id] > 0} | {
        trial.trial_id: trial for trial in rivals_of(view, family)
    }
    on_report = all(reading_of(view, trial, "report") is not None for trial in asked.values())
    return {
        "search": ItemNoise(split="search", of=paired_noise(folder, list(asked.values()), "search")),
        "report": ItemNoise(
            split="report", of=paired_noise(folder, list(asked.values()), "report") if on_report else {}
        ),
    }


def with_paired_chances(view: SweepView, family: str, noise: ItemNoise) -> SweepView:
    """The view with a family's probabilities of the front from this noise; as it is where it says nothing.

    A trial that is not in it had no chance with independent noise, which is the larger one: it has none here.
    """
    trials = [trial for trial in view.scored(family) if trial.trial_id in noise.of]
    if not trials:
        return view
    shared = np.stack([*(noise.of[trial.trial_id] for trial in trials), np.zeros_like(noise.of[trials[0].trial_id])])
    losses = np.vstack([view.objectives.losses(trials), [0.0, 0.0]])
    signed = shared * np.array([view.objectives.tax.sign, view.objectives.reward.sign])[:, None]
    found = paired_front_probability(losses, signed)[:-1]
    chances = {trial.trial_id: float(p) for trial, p in zip(trials, found, strict=True)}
    return replace(view, summary=with_chances(view.summary, family, chances))


def as_json(view: SweepView) -> dict[str, Any]:
    """The answers as plain data, intervals at 95 % of the noise of items."""
    answers = view.answers
    assert answers is not None, "a view without answers"
    families = view.summary["families"]
    return {
        "sweep": view.name,
        "objectives": view.summary["objectives"],
        "reference_point": view.summary["reference_point"],
        "chosen_on": "search",
        "interval_standard_errors": Z95,
        "families": {
            choice.family: {
                "picks": [asdict(pick) for pick in choice.picks],
                "remarks": list(choice.remarks),
                "front_probability_from": families[choice.family]["front_probability_from"],
                "gains": [asdict(gain) for gain in answers.gains[choice.family]],
                "importance": next((asdict(one) for one in answers.importances if one.family == choice.family), None),
                "health": {one.check: one.said for one in answers.health if one.family == choice.family},
            }
            for choice in answers.choices
        },
        **({} if view.course is None else asdict(view.course)),
        "savings": None if view.progress.savings is None else asdict(view.progress.savings),
    }
