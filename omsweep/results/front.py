"""The content of `front.json`: per family which trials no other beats, hypervolume, and how far seeds scatter.

Fronts are selected on the search split's numbers only; the report split's (`reward_report`, `tax_report`) are looked
at once the members are known, and change no membership.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omsweep.pareto.dominance import front
from omsweep.pareto.uncertainty import front_probability
from omsweep.pareto.volume import hypervolume
from omsweep.plan.told import violations
from omsweep.results.numbers import short
from omsweep.results.objectives import Objectives
from omsweep.space.schema import Bound
from omsweep.store.records import SHOWN, STATES, TWINS, TrialRecord, on_report_split
from omsweep.store.state import SFT_MODEL
from omsweep.strict_json import plain

EXPLORATORY = "exploratory, no ranking"
PAIRED, INDEPENDENT = "paired items", "standard errors"
"""What probabilities of being on the front come from."""
_NOT_SETTINGS = ("trial_id", "seed", "block", "baseline")
_MEMBER_FIELDS = ("trial_id", *(name for name, shown in SHOWN.items() if shown.front))


def front_summary(
    trials: Sequence[TrialRecord],
    objectives: Objectives,
    *,
    mode: str = "search",
    report_scores: Mapping[str, Mapping[str, Any]] | None = None,
    constraints: Mapping[str, Bound] | None = None,
) -> dict[str, Any]:
    """Fronts and hypervolumes of the trials, family by family.

    A trial counts when it is completed and both objectives are numbers; a member that lies outside of one of the
    `constraints` is marked. The untrained SFT model (reward 0, tax 0) is a candidate of every front and hypervolume,
    but no trial: who does not beat it is on no front.

    Args:
        trials: records of one sweep.
        objectives: of the sweep.
        mode: `compare` adds a hypervolume per label (equal draws make them comparable), `search` does not.
        report_scores: per trial id its numbers on the report split, fields as in the trial object.
        constraints: bounds on numbers of a trial.

    Returns:
        Plain data: `mode, split, objectives, reference_point, trials` (count by state), `scored, seeds` (fewest seeds
        of a setting), `exploratory, note, hypervolume` (mean over families), `members` (over all families, by tax;
        `outside` names the constraints that one does not keep) and `families: {name: {trials, scored, hypervolume, note
        (where nothing was found, in words), members (ids), front_probability {id: share}, front_probability_from
        (`INDEPENDENT` noise), labels: {label: {method, trials, scored, members, hypervolume, reward_sd_seeds,
        tax_sd_seeds}}}}`. Missing numbers are None.
    """
    trials = sorted(trials, key=lambda trial: trial.trial_id)  # not as they ended: what is drawn goes by the row
    scored = [trial for trial in trials if is_scored(trial, objectives)]
    families = {
        family: _family_summary([t for t in trials if t.family == family], objectives, mode)
        for family in dict.fromkeys(trial.family for trial in trials)
    }
    seeds = _fewest_seeds(scored)
    volumes = [content["hypervolume"] for content in families.values()]
    return {
        "mode": mode,
        "split": "search",
        "objectives": {"reward": objectives.reward.name, "tax": objectives.tax.name},
        "reference_point": {"reward": objectives.reference_reward, "tax": objectives.reference_tax},
        "trials": _states(trials),
        "scored": len(scored),
        "seeds": seeds,
        "exploratory": seeds < 2,
        "note": EXPLORATORY if seeds < 2 else None,
        "hypervolume": float(np.mean(volumes)) if volumes else None,
        "families": families,
        "members": _members(scored, families, report_scores or {}, constraints or {}),
    }


def is_scored(trial: TrialRecord, objectives: Objectives) -> bool:
    """Whether the trial ended with a policy for which both objectives are finite numbers."""
    values = (getattr(trial, objectives.reward.name), getattr(trial, objectives.tax.name))
    return trial.state == "completed" and all(v is not None and math.isfinite(v) for v in values)


def label_of(trial: TrialRecord) -> str:
    """What a trial is reported and compared under: its branch's label, else its method, and a control's task vector."""
    label = trial.label or trial.method or "unlabelled"
    return label if trial.task_vector == "real" else f"{label}/{trial.task_vector}"


def parent_label(label: str) -> str:
    """The label of the trials that a label's were merged from: `ondare/flipped` of `ondare+ties/flipped`."""
    return re.sub(r"\+[^/]*", "", label)


def _family_summary(trials: Sequence[TrialRecord], objectives: Objectives, mode: str) -> dict[str, Any]:
    scored = [trial for trial in trials if is_scored(trial, objectives)]
    losses = _with_sft_model(objectives.losses(scored))
    errors = np.vstack([objectives.standard_errors(scored), [0.0, 0.0]])  # gains over itself are 0, not measured so
    chances, on_front = front_probability(losses, errors)[:-1], front(losses)
    members = [scored[i].trial_id for i in np.lexsort((losses[:, 1], losses[:, 0])) if i < len(scored) and on_front[i]]
    volume = hypervolume(losses, objectives.reference_losses)
    return {
        "trials": _states(trials),
        "scored": len(scored),
        "hypervolume": volume,
        "note": _nothing_found(len(scored), members, volume, objectives),
        "members": members,
        "front_probability": {t.trial_id: float(p) for t, p in zip(scored, chances, strict=True)},
        "front_probability_from": INDEPENDENT,
        "labels": {
            label: _label_summary([t for t in trials if label_of(t) == label], members, objectives, mode)
            for label in dict.fromkeys(label_of(trial) for trial in trials)
        },
    }


def _with_sft_model(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Losses [N, 2] and, as the last row, those of the SFT model."""
    return np.vstack([losses, SFT_MODEL[:2]])


def _nothing_found(scored: int, members: Sequence[str], volume: float, objectives: Objectives) -> str | None:
    """That a family's front is empty or dominates nothing, in words; None where neither is so."""
    reward, tax = objectives.reward.name, objectives.tax.name
    if scored and not members:
        return f"the front is empty: no trial has more {reward} or less {tax} than the SFT model"
    if scored and not volume:
        return (
            f"hypervolume 0: no trial has {reward} above {short(objectives.reference_reward)} and {tax} below"
            f" {short(objectives.reference_tax)}, the reference point"
        )
    return None


def _label_summary(
    trials: Sequence[TrialRecord], members: Sequence[str], objectives: Objectives, mode: str
) -> dict[str, Any]:
    scored = [trial for trial in trials if is_scored(trial, objectives)]
    losses = _with_sft_model(objectives.losses(scored))
    return {
        "method": trials[0].method,
        "trials": len(trials),
        "scored": len(scored),
        "members": sum(trial.trial_id in members for trial in scored),
        "hypervolume": hypervolume(losses, objectives.reference_losses) if mode == "compare" else None,
        "reward_sd_seeds": _sd_over_seeds(scored, objectives.reward.name),
        "tax_sd_seeds": _sd_over_seeds(scored, objectives.tax.name),
    }


def _members(
    scored: Sequence[TrialRecord],
    families: Mapping[str, Mapping[str, Any]],
    report_scores: Mapping[str, Mapping[str, Any]],
    constraints: Mapping[str, Bound],
) -> list[dict[str, Any]]:
    by_id = {trial.trial_id: trial for trial in scored}
    members = []
    for content in families.values():
        for trial_id in content["members"]:
            row = by_id[trial_id].to_json()
            rescored = row if row["reward_report"] is not None else on_report_split(report_scores.get(trial_id, {}))
            members.append(
                {name: row[name] for name in _MEMBER_FIELDS}
                | {"label": label_of(by_id[trial_id]), "front_probability": content["front_probability"][trial_id]}
                | {name: rescored[name] for name in TWINS.values()}
                | {"outside": outside_of(constraints, row)}
            )
    return members


def outside_of(constraints: Mapping[str, Bound], row: Mapping[str, Any]) -> list[str]:
    """The constraints that a trial's numbers do not keep, in words."""
    found = {name: violations({name: bound}, row) for name, bound in constraints.items()}
    return [
        which
        for name, far in found.items()
        for which in ([f"{name} not known"] if far is None else [one for one, by in far.items() if by > 0])
    ]


def with_chances(summary: Mapping[str, Any], family: str, chances: Mapping[str, float]) -> dict[str, Any]:
    """The summary with a family's front probabilities from `PAIRED` noise in place of those it was made with."""
    content = summary["families"][family]
    changed = {
        **content,
        "front_probability": dict.fromkeys(content["front_probability"], 0.0) | dict(chances),
        "front_probability_from": PAIRED,
    }
    members = [
        {**member, "front_probability": changed["front_probability"][member["trial_id"]]}
        if member["family"] == family
        else member
        for member in summary["members"]
    ]
    return {**summary, "families": {**summary["families"], family: changed}, "members": members}


def _settings(trial: TrialRecord) -> str:
    """Everything that makes two trials the same recipe but for the seed, as canonical text."""
    own = {name: value for name, value in plain(trial.params).items() if name not in _NOT_SETTINGS}
    posthoc = own.get("posthoc") or {}
    if "travel_of" in posthoc:  # the weight is what another trial of the block walked, so it differs between seeds
        own["posthoc"] = {name: value for name, value in posthoc.items() if name != "weight"}
    place = [trial.family, trial.sft_seed, label_of(trial), trial.algorithm, trial.kind]
    return json.dumps([place, own], sort_keys=True)


def _by_settings(trials: Iterable[TrialRecord]) -> list[list[TrialRecord]]:
    groups: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        groups.setdefault(_settings(trial), []).append(trial)
    return list(groups.values())


def _fewest_seeds(scored: Sequence[TrialRecord]) -> int:
    """The smallest number of seeds any setting was scored with; 0 when none was."""
    return min((len({trial.seed for trial in group}) for group in _by_settings(scored)), default=0)


def _sd_over_seeds(scored: Sequence[TrialRecord], name: str) -> float | None:
    """Standard deviation over the seeds of one setting, pooled over settings; None without a repeated setting."""
    squares, freedom = 0.0, 0
    for group in _by_settings(scored):
        by_seed = {trial.seed: getattr(trial, name) for trial in group}
        values = np.array(list(by_seed.values()), dtype=np.float64)
        squares += float(((values - values.mean()) ** 2).sum())
        freedom += len(values) - 1
    return math.sqrt(squares / freedom) if freedom else None


def _states(trials: Sequence[TrialRecord]) -> dict[str, int]:
    counted: Counter[str] = Counter(trial.state for trial in trials)
    return {state: counted[state] for state in STATES if counted[state]}
