"""What to take from a sweep: of each family the knee of its front and the most reward within limits of tax.

A choice is made on the search split. Its numbers are of the report split where it was scored there; a number that a
choice was made by is too good on average (the winner's curse), and `Choice.remarks` says so where there is no other.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from omsweep.pareto.dominance import front
from omsweep.pareto.trade_off import knee
from omsweep.results.answers.item_noise import Reading
from omsweep.results.front import label_of, outside_of
from omsweep.results.numbers import Z95, is_number, short, with_error
from omsweep.results.view import SweepView
from omsweep.store.records import TrialRecord
from omsweep.store.state import SFT_MODEL

TAX_LIMIT = 1.0
"""Points of tax within which the most reward is always shown."""
FEWEST_FOR_KNEE = 3
WINNERS_CURSE = (
    "Numbers of the search split are those that trials were chosen by, and the best of many noisy numbers is too good"
    " on average; members of the front are scored on the report split once the sweep is complete."
)


@dataclass(frozen=True, kw_only=True)
class Pick:
    """A trial to take.

    Attributes:
        aims: what it is best at: `knee of the front`, `most reward at a tax of at most 1 points`.
        trial_id, label, algorithm, kind: of the trial.
        reading: its numbers, on the report split where they are known there.
        chosen_by: its numbers on the search split.
        front_probability: that it is on the front, given the noise of items (`SweepView.summary` says which).
        command: what exports it.
        remarks: what to know before taking it, in sentences.
    """

    aims: Sequence[str]
    trial_id: str
    label: str
    algorithm: str | None
    kind: str
    reading: Reading
    chosen_by: Reading
    front_probability: float
    command: str
    remarks: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to take from a family, and what there is to say of it; no picks where nothing is worth taking."""

    family: str
    picks: Sequence[Pick]
    remarks: Sequence[str]


def choice_of(view: SweepView, family: str, limits: Sequence[float] | None = None) -> Choice:
    """What to take from a family.

    Args:
        view: of the sweep.
        family: one of its families.
        limits: of tax, in the tax objective's unit; None for `tax_limits`.
    """
    wanted: dict[str, dict[str, float]] = {}
    remarks = []
    found = knee_of(view, family)
    if found is not None:
        wanted[found] = {"knee of the front": math.inf}
    elif view.scored(family):
        remarks.append(f"No knee: the front has fewer than {FEWEST_FOR_KNEE} trials, or does not bend.")
    for limit in tax_limits(view, family) if limits is None else limits:
        best = best_within(view, family, limit)
        if best is not None:
            wanted.setdefault(best, {})[f"most reward at {_at_most(view, limit)}"] = limit
        elif view.scored(family):
            remarks.append(f"No trial has more reward than the SFT model at {_at_most(view, limit)}.")
    trials = {trial.trial_id: trial for trial in view.scored(family)}
    picks = [_pick(view, trials[trial_id], aims) for trial_id, aims in wanted.items()]
    if any(pick.reading.split == "search" for pick in picks):
        remarks.append(WINNERS_CURSE)
    return Choice(family=family, picks=picks, remarks=remarks)


def tax_limits(view: SweepView, family: str) -> list[float]:
    """`TAX_LIMIT`, what the comparison is asked up to, and the tax from which on nothing counts."""
    asked = (view.resolved.get("comparison") or {}).get("tax_limit")
    of_family = asked.get(family) if isinstance(asked, Mapping) else asked
    limits = {TAX_LIMIT, view.objectives.reference_tax, *([float(of_family)] if is_number(of_family) else [])}
    return sorted(limit for limit in limits if limit <= view.objectives.reference_tax)


def knee_of(view: SweepView, family: str) -> str | None:
    """The trial at the knee of a family's front (`omsweep.pareto.trade_off`), of trials that keep the constraints.

    None where the front has fewer than three trials that count, or does not bend.
    """
    kept = _kept(view, family)
    losses = view.objectives.losses(kept)
    on_front = front([*losses, SFT_MODEL[:2]])[:-1]
    members = [trial for trial, on in zip(kept, on_front, strict=True) if on]
    place = knee(losses[on_front], view.objectives.reference_losses)
    return None if place is None else members[place].trial_id


def best_within(view: SweepView, family: str, limit: float) -> str | None:
    """The trial with the most reward at a tax of at most `limit`, of equal ones that with the least tax.

    Of trials that keep the constraints and have more reward than the SFT model; None where there is none.
    """
    kept = [(trial, _search_reading(view, trial)) for trial in _kept(view, family)]
    within = [(trial, read) for trial, read in kept if read.tax <= limit and read.reward > 0]
    best = max(within, key=lambda one: (one[1].reward, -one[1].tax), default=None)
    return None if best is None else best[0].trial_id


def chosen(view: SweepView, family: str, *, max_tax: float | None = None) -> str:
    """The trial to take: the most reward at a tax of at most `max_tax`; without a limit the knee of the front.

    Raises:
        ValueError: there is none, in a sentence.
    """
    trial_id = knee_of(view, family) if max_tax is None else best_within(view, family, max_tax)
    if trial_id is not None:
        return trial_id
    if max_tax is not None:
        raise ValueError(
            f"no trial of {family} has more reward than its SFT model at {_at_most(view, max_tax)}"
            f"{_least(view, family)}"
        )
    raise ValueError(
        f"the front of {family} has no knee: fewer than {FEWEST_FOR_KNEE} of its trials count, or none lies beyond the"
        " line through its ends"
    )


def _least(view: SweepView, family: str) -> str:
    """What the least tax of a trial with more reward than the SFT model is; nothing where there is no such trial."""
    gains = [trial for trial in _kept(view, family) if _search_reading(view, trial).reward > 0]
    least = min(gains, key=lambda trial: _search_reading(view, trial).tax, default=None)
    if least is None:
        return ", nor at any other"
    reading = _search_reading(view, least)
    return f"; the least is {with_error(reading.tax, reading.tax_error)} of {least.trial_id} ({reading.split} split)"


def reading_of(view: SweepView, trial: TrialRecord, split: str) -> Reading | None:
    """A trial's numbers on a split, None where it has none there; members are scored on the report split later, too."""
    member = view.members.get(trial.trial_id) if split == "report" else None
    suffix = "_report" if split == "report" else ""
    fields = [f"{metric.name}{suffix}" for metric in (view.objectives.reward, view.objectives.tax)]
    names = [*fields, *(f"{name}_se_items" for name in fields)]
    reward, tax, *errors = (getattr(trial, name) if member is None else member[name] for name in names)
    if not (is_number(reward) and is_number(tax)):
        return None
    return Reading(split=split, reward=reward, tax=tax, reward_error=errors[0], tax_error=errors[1])


def _at_most(view: SweepView, limit: float) -> str:
    tax = view.objectives.tax
    unit = tax.unit.removesuffix("s") if limit == 1 else tax.unit
    return f"a {tax.name} of at most {short(limit)} {unit}"


def _search_reading(view: SweepView, trial: TrialRecord) -> Reading:
    reading = reading_of(view, trial, "search")
    assert reading is not None, f"{trial.trial_id} is not scored"
    return reading


def _kept(view: SweepView, family: str) -> list[TrialRecord]:
    bounds = view.constraints
    return [trial for trial in view.scored(family) if not bounds or not outside_of(bounds, trial.to_json())]


def _pick(view: SweepView, trial: TrialRecord, aims: Mapping[str, float]) -> Pick:
    """`aims`: what it is best at, each with its limit of tax."""
    chosen_by = _search_reading(view, trial)
    reading = reading_of(view, trial, "report") or chosen_by
    return Pick(
        aims=list(aims),
        trial_id=trial.trial_id,
        label=label_of(trial),
        algorithm=trial.algorithm,
        kind=trial.kind,
        reading=reading,
        chosen_by=chosen_by,
        front_probability=view.summary["families"][trial.family]["front_probability"][trial.trial_id],
        command=f"omsweep export {view.name} --trial {trial.trial_id} --output {trial.trial_id}",
        remarks=list(_remarks(view, trial, reading, chosen_by, min(aims.values()))),
    )


def _remarks(view: SweepView, trial: TrialRecord, reading: Reading, chosen_by: Reading, limit: float) -> Iterator[str]:
    if reading.tax > limit:
        tax = view.objectives.tax.name
        yield (
            f"Its {tax} is above {short(limit)} on the {reading.split} split; it was chosen on the {chosen_by.split}"
            f" split, where it is {with_error(chosen_by.tax, chosen_by.tax_error)}."
        )
    if reading.reward_error is not None and reading.reward - Z95 * reading.reward_error <= 0:
        yield "Its reward is no more than the SFT model's within the noise of items."
    if trial.kind == "trained" and trial.policy_path is None:
        yield "Its policy was not kept (`keep`), so that it has to be trained again."
