"""Whether a family's front shows anything beyond noise: over the SFT model, AdamW, and interpolation with that model.

A trial is *beyond* a set of rivals where none of them, nor the SFT model, has as much reward at as little tax: against
each it has more reward or less tax by more than the noise of items allows at `LEVEL`, over all trials that were looked
at. One run of each recipe says nothing of other seeds; verdicts over seeds are those of `comparison`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from omsweep.merging.methods import BASELINE_METHOD
from omsweep.pareto.dominance import front
from omsweep.results.answers.item_noise import ItemNoise, Reading
from omsweep.results.answers.picks import reading_of
from omsweep.results.numbers import counted
from omsweep.results.view import SweepView
from omsweep.store.records import TrialRecord

LEVEL = 0.05
"""Chance that anything is said to be beyond rivals that is not, over all trials looked at, noise of items alone."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What a family's front has over one set of rivals.

    Attributes:
        over: `the SFT model`, `AdamW`, `interpolation`.
        members: of the front, that are none of the rivals.
        beyond: of these, those that are beyond the rivals by more than noise.
        split: whose numbers were read.
        looked_at: trials that the level is shared by.
        said: all of it in a sentence.
    """

    over: str
    members: Sequence[str]
    beyond: Sequence[str]
    split: str
    looked_at: int
    said: str


def gains_of(view: SweepView, family: str, noise: Mapping[str, ItemNoise] | None = None) -> list[Gain]:
    """What a family's front has over each set of rivals that was tried; nothing before a trial is scored.

    Args:
        view: of the sweep.
        family: one of its families.
        noise: by split, what is known of errors beside standard errors.
    """
    scored = view.scored(family)
    if not scored:
        return []
    sets = {name: [trial for trial in scored if is_rival(trial)] for name, is_rival in RIVALS.items()}
    tried = {name: rivals for name, rivals in sets.items() if rivals or name == "the SFT model"}
    return [_gain(view, scored, name, rivals, noise or {}) for name, rivals in tried.items()]


def rivals_of(view: SweepView, family: str) -> list[TrialRecord]:
    """The trials that members of the front are measured against: the front of each set of rivals."""
    sets = ([trial for trial in view.scored(family) if is_rival(trial)] for is_rival in RIVALS.values())
    return list({t.trial_id: t for rivals in sets for t in _best(view, rivals)}.values())


RIVALS = {
    "the SFT model": lambda trial: False,
    "AdamW": lambda trial: trial.kind == "trained" and trial.method == BASELINE_METHOD,
    "interpolation": lambda trial: (trial.params.get("posthoc") or {}).get("method") == "linear",
}
"""What has to be beaten, and which trials it is; interpolation is that of a policy and its SFT model."""
_NOBODY = {"AdamW": "neither a run of AdamW nor the SFT model", "interpolation": "no interpolation with the SFT model"}
_ANYBODY = {"AdamW": "some run of AdamW or the SFT model", "interpolation": "some interpolation with the SFT model"}


def _gain(
    view: SweepView,
    scored: Sequence[TrialRecord],
    name: str,
    rivals: Sequence[TrialRecord],
    noise: Mapping[str, ItemNoise],
) -> Gain:
    others = [trial for trial in scored if not RIVALS[name](trial)]
    members = [trial for trial in others if trial.trial_id in view.member_ids]
    against = _best(view, rivals)
    split = "report" if all(reading_of(view, trial, "report") for trial in (*members, *against)) else "search"
    looked_at = len(members if split == "report" else others)
    margin = NormalDist().inv_cdf(1 - LEVEL / (2 * max(1, looked_at)))
    known = noise.get(split, ItemNoise(split=split))
    read = {t.trial_id: reading for t in (*members, *against) if (reading := reading_of(view, t, split)) is not None}
    theirs = {trial.trial_id: read[trial.trial_id] for trial in against}
    beyond = [t.trial_id for t in members if _is_beyond(t.trial_id, read[t.trial_id], theirs, known, margin)]
    ids = [trial.trial_id for trial in members]
    said = _said(name, ids, beyond, split)
    return Gain(over=name, members=ids, beyond=beyond, split=split, looked_at=looked_at, said=said)


def _best(view: SweepView, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [trial for trial, on in zip(trials, front(view.objectives.losses(trials)), strict=True) if on]


def _is_beyond(trial_id: str, mine: Reading, rivals: Mapping[str, Reading], noise: ItemNoise, margin: float) -> bool:
    """Whether a trial has more reward than the SFT model, and more reward or less tax than each rival."""
    if mine.reward_error is None or mine.reward <= margin * mine.reward_error:
        return False
    for other, theirs in rivals.items():
        reward_error, tax_error = noise.difference_errors(trial_id, mine, other, theirs)
        more, less = mine.reward - theirs.reward, theirs.tax - mine.tax
        if not (more > margin * reward_error or less > margin * tax_error):
            return False
    return True


def _said(name: str, members: Sequence[str], beyond: Sequence[str], split: str) -> str:
    noise = f"beyond the noise of items ({split} split)"
    if not members:
        return f"Nothing beats {name}: no other trial is on the front."
    if name == "the SFT model":
        if not beyond:
            return f"Nothing beats the SFT model {noise}: no trial on the front has more reward by so much."
        which = f"{len(beyond)} of {counted(len(members), 'trial')}"
        return f"{which} on the front {_has(beyond)} more reward than the SFT model {noise}."
    if not beyond:
        has = f"{_ANYBODY[name]} has as much reward at as little tax, or may have"
        return f"Nothing beats {name} {noise}: for every other trial on the front, {has}."
    which = f"{len(beyond)} of {counted(len(members), 'other trial')}"
    return f"{which} on the front {_has(beyond)} what {_NOBODY[name]} has, so much reward at so little tax, {noise}."


def _has(some: Sequence[str]) -> str:
    return "has" if len(some) == 1 else "have"
