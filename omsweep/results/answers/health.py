"""What a family's results warn of, in sentences: each check is a function that returns one, or None."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omsweep.merging.methods import BASELINE_METHOD
from omsweep.results.answers.gains import LEVEL, Gain
from omsweep.results.answers.importance import drawn_by
from omsweep.results.front import label_of
from omsweep.results.numbers import Z95, counted, fixed, short
from omsweep.results.view import SweepView
from omsweep.space.knobs import Choice, Integer, Interval, Knob
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TrialRecord
from omsweep.store.state import SweepState, family_key

AT_EDGE = 0.1
"""Share of a range, from its end, in which a front's values lie at the edge."""
FEWEST = 3
"""Members of a front, or trials that were lost, below which nothing is said of their knobs."""
MOST_LOST = 0.05
LONGER = 1.25
"""Times the SFT model's length from which on answers count as longer."""
WITH_LENGTH = 0.5
"""Rank correlation of reward and length from which on the two go together."""
LESS = 0.1
"""Share of answers, or of pairs of words, by which a front's answers differ clearly."""
FEWEST_FOR_RANKS = 8
BOUNDS: Mapping[str, tuple[float, float]] = {"density": (0.0, 1.0), "alpha": (0.0, 1.0), "replay_share": (0.0, 1.0)}
"""Where knobs end by what they are, so that a range cannot be extended."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What the checks of a family look at; `space` is None where this omsweep cannot read it."""

    family: str
    view: SweepView
    trials: Sequence[TrialRecord]
    state: SweepState
    space: SearchSpace | None
    gains: Sequence[Gain]

    @property
    def scored(self) -> list[TrialRecord]:
        """Trials with both objectives."""
        return self.view.scored(self.family)

    @property
    def members(self) -> list[TrialRecord]:
        """Those on the front."""
        return [trial for trial in self.scored if trial.trial_id in self.view.member_ids]

    def reference(self, trial: TrialRecord) -> Mapping[str, Any]:
        """What the trial's SFT model scored."""
        found: Mapping[str, Any] = self.view.references.get(family_key(trial.family, trial.sft_seed)) or {}
        return found or self.view.references.get(trial.family) or {}

    def drawn(self, trial: TrialRecord) -> dict[str, tuple[Any, Knob]]:
        """What a trained trial drew, see `drawn_by`."""
        return {} if self.space is None or trial.kind != "trained" else drawn_by(self.space, trial)


Check = Callable[[Patient], str | None]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check of a family said."""

    family: str
    check: str
    said: str


def findings_of(patient: Patient) -> list[Finding]:
    """What all checks say of a family, in the order of `CHECKS`."""
    told = ((name, check(patient)) for name, check in CHECKS.items())
    return [Finding(family=patient.family, check=name, said=said) for name, said in told if said is not None]


def range_edge(patient: Patient) -> str | None:
    """Knobs whose values on the front lie at an end of their range, beyond which there may be better ones."""
    found: dict[str, tuple[list[float], Knob]] = {}
    for path, (value, knob) in chain.from_iterable(patient.drawn(trial).items() for trial in patient.members):
        place = place_in(value, knob)
        if place is not None:
            found.setdefault(path, ([], knob))[0].append(place)
    said = []
    for path, (places, knob) in found.items():
        ends, middle = ends_of(knob), median(places)
        if ends is None or len(places) < FEWEST or AT_EDGE < middle < 1 - AT_EDGE:
            continue
        end, where = (ends[0], "further down") if middle < 0.5 else (ends[1], "higher")
        if end not in BOUNDS.get(path.rpartition(".")[2], ()):
            said.append(f"{path}, whose range [{short(ends[0])}, {short(ends[1])}] could reach {where}")
    if not said:
        return None
    return f"The front lies at the edge of what was tried for {'; '.join(said)}: there may be better values beyond."


def no_gain(patient: Patient) -> str | None:
    """That nothing beats the SFT model, AdamW or interpolation by more than noise."""
    over = [gain.over for gain in patient.gains if not gain.beyond]
    return None if not over else f"No gain over {' or '.join(over)} beyond the noise of items."


def lost_trials(patient: Patient) -> str | None:
    """How many trials diverged or failed, and the knob that goes with it."""
    trained = [trial for trial in patient.trials if trial.kind == "trained"]
    lost = [trial.state in ("diverged", "failed") for trial in trained]
    if not trained or sum(lost) < max(1.0, MOST_LOST * len(trained)):
        return None
    states = ", ".join(
        f"{count} {state}" for state in ("diverged", "failed") if (count := sum(t.state == state for t in trained))
    )
    said = f"{sum(lost)} of {counted(len(trained), 'trial')} left no scores ({states})"
    return f"{said}{_goes_with(patient, trained, lost)}."


def bought_by_length(patient: Patient) -> str | None:
    """That the front's answers are longer than the SFT model's, and reward rises with length."""
    ratios = [trial.length_ratio for trial in patient.members if trial.length_ratio is not None]
    if not ratios or median(ratios) < LONGER:
        return None
    said = f"The front's answers are {fixed(median(ratios), 1)} times as long as the SFT model's (median)"
    known = [(t.length_ratio, getattr(t, patient.view.objectives.reward.name)) for t in patient.scored]
    pairs = np.array([pair for pair in known if pair[0] is not None], dtype=np.float64)
    if len(pairs) < FEWEST_FOR_RANKS:
        return f"{said}: see whether the reward is for length."
    from scipy.stats import spearmanr

    together = float(spearmanr(*pairs.T).statistic) if (np.ptp(pairs, axis=0) > 0).all() else 0.0
    if together < WITH_LENGTH:
        return None
    return (
        f"{said}, and reward rises with length over {len(pairs)} trials (rank correlation {fixed(together)}):"
        " some of the reward may be bought by length."
    )


def over_optimised(patient: Patient) -> str | None:
    """Rewards that fell on the front, beyond noise, while the one that was optimised rose."""
    fell = []
    for name in named_gains(patient):
        told = [(t.rewards.get(name), t.rewards.get(f"{name}_se_items")) for t in patient.members]
        known = [(gain, error) for gain, error in told if gain is not None and error is not None]
        lower = [gain for gain, error in known if gain < -Z95 * error]
        if lower and len(lower) * 2 > len(known):
            of = counted(len(patient.members), "member")
            fell.append(f"{name} fell beyond noise in {len(lower)} of the front's {of} (median {fixed(median(lower))})")
    if not fell:
        return None
    kl = [trial.kl for trial in patient.members if trial.kl is not None]
    far = f", at a KL of {fixed(median(kl), 1)} nats (median)" if kl else ""
    return f"{'; '.join(fell)}, while the reward that was optimised rose{far}: that is over-optimisation."


def gone_at_equal_length(patient: Patient) -> str | None:
    """Gains over the SFT model by a judge that are within noise once answers are compared at equal length."""
    said = []
    for trial in patient.members:
        for key, even in trial.rewards.items():
            name, found, _ = key.partition("_length_controlled")
            error = trial.rewards.get(f"{key}_se")
            if found != "_length_controlled" or key.endswith("_se") or even is None or error is None:
                continue
            own = name not in trial.rewards  # then it is the objective
            raw = trial.reward if own else trial.rewards[name]
            noise = trial.reward_se_items if own else trial.rewards.get(f"{name}_se_items")
            if raw is not None and noise is not None and raw > Z95 * noise and even <= Z95 * error:
                said.append(f"{trial.trial_id} ({name}: {fixed(raw)}, at equal length {fixed(even)} points)")
    return f"Bought by length, no gain is left at equal length: {'; '.join(said[:3])}." if said else None


def broken_answers(patient: Patient) -> str | None:
    """Members of the front whose answers end, vary or comply clearly less than the SFT model's."""
    said: list[str] = []
    for name, words, worse in (
        ("finished_rate", "answers that end", -LESS),
        ("distinct_2", "distinct pairs of words", -LESS),
        ("refusal_rate", "refusals", LESS),
    ):
        pairs = [(getattr(trial, name), patient.reference(trial).get(name)) for trial in patient.members]
        known = [(now, before) for now, before in pairs if now is not None and before is not None]
        changed = [now - before for now, before in known]
        if changed and median(changed) / worse >= 1:
            before, now = (median(one[i] for one in known) for i in (1, 0))
            said.append(f"{words} {fixed(100 * before, 0)} -> {fixed(100 * now, 0)} %")
    return f"The front's answers against the SFT model's: {', '.join(said)} (medians)." if said else None


def named_gains(patient: Patient) -> list[str]:
    """Names of the rewards that are recorded beside the objective."""
    names = dict.fromkeys(key for trial in patient.members for key in trial.rewards)
    return [name for name in names if f"{name}_se_items" in names]


def dropped_data(patient: Patient) -> str | None:
    """Records of the data that were dropped, or changed before training, as truncated ones are."""
    prepared = [data for key, data in patient.state.prepared.items() if key.partition("#")[0] == patient.family]
    said = []
    for record in (one for data in prepared for one in data["models"].get("records", ())):
        changes = {f"dropped: {why}": count for why, count in record["dropped"].items()} | dict(record["notes"])
        told = ", ".join(f"{count} {why}" for why, count in changes.items())
        said += [f"{record['source']}: of {counted(record['records'], 'record')} {told}"] if told else []
    return f"{'; '.join(dict.fromkeys(said))}." if said else None


def inactive_merges(patient: Patient) -> str | None:
    """Methods whose merging did next to nothing in most of their runs."""
    runs: dict[str, list[bool]] = {}
    for trial in patient.scored:
        if trial.kind == "trained" and trial.method != BASELINE_METHOD and trial.merge_active is not None:
            runs.setdefault(label_of(trial), []).append(trial.merge_active)
    idle = {label: active.count(False) for label, active in runs.items() if active.count(False) * 2 > len(active)}
    if not idle:
        return None
    which = ", ".join(f"{label} ({count} of {counted(len(runs[label]), 'run')})" for label, count in idle.items())
    return f"Merging was inactive in {which}: it moved the weights by under 1 %, nothing may be credited to it."


def noisy_front(patient: Patient) -> str | None:
    """That members of the front differ by less than the noise of the items they were measured on."""
    if len(patient.members) < 2:
        return None
    said = []
    for metric in (patient.view.objectives.reward, patient.view.objectives.tax):
        errors = [getattr(trial, metric.standard_error or "", None) for trial in patient.members]
        known = [error for error in errors if error is not None]
        values = [getattr(trial, metric.name) for trial in patient.members]
        spread = max(values) - min(values)
        if known and spread < (noise := Z95 * 2**0.5 * median(known)):
            said.append(f"{fixed(spread)} in {metric.name}, less than {fixed(noise)}")
    if not said:
        return None
    return f"The front's members differ by {' and '.join(said)}, which the noise of items makes of two equal ones."


def stopping_off(patient: Patient) -> str | None:
    """Rungs at which stopping switched itself off."""
    rungs = [
        (rung.level, rung.why)
        for trial in patient.state.trials.values()
        if trial.fields["family"] == patient.family
        for rung in trial.rungs
        if rung.why.startswith("stopping is off")
    ]
    if not rungs:
        return None
    levels = ", ".join(map(str, sorted({level for level, _ in rungs})))
    return f"Stopping switched itself off at rung {levels}: what was scored there told too little of the end."


def few_seeds(patient: Patient) -> str | None:
    """That every setting has one seed, so that nobody knows how far another one would end."""
    if not patient.view.summary["exploratory"] or not patient.scored:
        return None
    more = "design.seeds" if patient.view.summary["mode"] == "compare" else "search.replicates"
    return f"Settings with one seed: how far off another ends is not known, maybe further than methods differ ({more})."


CHECKS: Mapping[str, Check] = {
    "no gain": no_gain,
    "range edge": range_edge,
    "length": bought_by_length,
    "equal length": gone_at_equal_length,
    "over optimisation": over_optimised,
    "answers": broken_answers,
    "noise": noisy_front,
    "seeds": few_seeds,
    "merging": inactive_merges,
    "lost trials": lost_trials,
    "data": dropped_data,
    "stopping": stopping_off,
}


def place_in(value: Any, knob: Knob) -> float | None:
    """Where a value lies between the ends of a knob, 0 to 1, in the knob's own scale; None where it has no order.

    A choice of three or more numbers has ends too.
    """
    ends = ends_of(knob)
    if ends is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    low, high, at = (float(number) for number in (*ends, value))
    if isinstance(knob, Choice):
        order = sorted(knob.values)  # type: ignore[type-var]
        return order.index(value) / (len(order) - 1) if value in order else None
    if isinstance(knob, Interval) and knob.log:
        low, high, at = np.log([low, high, at]).tolist()
    return (at - low) / (high - low)


def ends_of(knob: Knob) -> tuple[float, float] | None:
    """The least and the greatest value that can be drawn; None where values have no order."""
    match knob:
        case Interval(low, high) | Integer(low, high):
            return low, high
        case Choice(values) if len(values) > 2 and all(type(value) in (int, float) for value in values):
            return min(values), max(values)  # type: ignore[type-var, return-value]
    return None


def _goes_with(patient: Patient, trials: Sequence[TrialRecord], lost: Sequence[bool]) -> str:
    """` and most with a high learning_rate`, where one knob goes with being lost by more than chance over all knobs."""
    if sum(lost) < FEWEST or all(lost):
        return ""
    drawn = [patient.drawn(trial) for trial in trials]
    tests: list[tuple[float, str]] = []
    for path in dict.fromkeys(path for one in drawn for path in one):
        has = [i for i, one in enumerate(drawn) if path in one]
        values, knob = [drawn[i][path][0] for i in has], drawn[has[0]][path][1]
        mask = np.array([lost[i] for i in has])
        if ends_of(knob) is not None:
            p, more = _tested(np.array(values, dtype=np.float64), mask)
            tests.append((p, f"a {'high' if more else 'low'} {path}"))
            continue
        for value in dict.fromkeys(values):
            p, more = _tested(np.array([float(one == value) for one in values]), mask)
            tests += [(p, f"{path} {short(value)}")] if more else []
    p, which = min(tests, default=(1.0, ""))
    return f", most of them with {which}" if p * len(tests) < LEVEL else ""


def _tested(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> tuple[float, bool]:
    """The p-value of Wilcoxon's rank-sum test that the chosen have other values, and whether these are greater."""
    from scipy.stats import mannwhitneyu

    if chosen.all() or not chosen.any() or np.ptp(values) == 0:
        return 1.0, False
    found = mannwhitneyu(values[chosen], values[~chosen], method="asymptotic")
    return float(found.pvalue), bool(found.statistic * 2 > chosen.sum() * (~chosen).sum())
