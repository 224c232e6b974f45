"""What a file's scheduler would have done to the trials of a sweep: `omsweep check FILE --replay SWEEP`. Torch-free.

Trials that ran to their end, with what they scored at their rungs, go through the file's own rule again, in the order
in which they were proposed, on virtual time (`omsweep.plan.simulate`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omsweep.pareto.dominance import front
from omsweep.pareto.volume import hypervolume
from omsweep.plan.proposer import DesignProposer
from omsweep.plan.rungs import rank_correlation
from omsweep.plan.simulate import Ended, Recorded, simulate
from omsweep.plan.stopping import Stopping, items_at, rungs_of
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TrialSpec
from omsweep.store.state import SFT_MODEL, Rung, SweepState, TrialState


def replay_lines(space: SearchSpace, folder: SweepFolder) -> list[str]:
    """What stopping would have saved and cost, a line each.

    Args:
        space: whose `scheduler` is asked.
        folder: of the sweep that is replayed.

    Raises:
        ValueError: the file stops nobody, or the sweep has no trial that the rule can be asked about.
    """
    rule = space.file.scheduler
    if rule.algorithm == "none":
        raise ValueError("--replay asks what the file's scheduler would have done, and scheduler.algorithm is none")
    if not folder.exists():
        raise ValueError(f"--replay: no sweep {folder.name} in {folder.storage}")
    state = folder.state()
    _check_same_scores(space, folder.name, state)
    ended = [one for one in state.ended() if one.fields.get("kind") != "posthoc"]
    whole = [one for one in ended if _is_whole(one, space)]
    usable = [one for one in whole if not _missing(space, one)]
    if not usable:
        raise ValueError(f"--replay: {folder.name} has no trial to ask the rule about: {_why(space, whole)}")
    left_out = len(ended) - len(usable)
    lines = [
        f"replay of {folder.name}: {len(usable)} of its {len(ended)} trials, one at a time"
        + (f"; {left_out} that were stopped, have failed or lack a rung are left out" if left_out else "")
    ]
    for family in dict.fromkeys(one.spec.family for one in usable):
        mine = [one for one in usable if one.spec.family == family]
        lines += [f"  {family}: {line}" for line in _of_family(space, folder, mine)]
    return lines


def _of_family(space: SearchSpace, folder: SweepFolder, trials: Sequence[TrialState]) -> Iterator[str]:
    worst = space.file.objectives.reference_point
    reference_point = (worst.tax, -worst.reward)
    recorded = {one.trial_id: _recorded(space, folder, one) for one in trials}
    plain, stopped = (_simulated(space, trials, recorded, rule) for rule in (None, Stopping(space)))
    losses = {one.spec.trial_id: _losses(space, one.outcome) for one in plain}
    on_front = front(_with_sft_model(losses.values()))[:-1]
    members = {trial_id for trial_id, on in zip(losses, on_front, strict=True) if on}
    lost = [one.spec.trial_id for one in stopped if one.state == "stopped"]
    share = stopped[-1].seconds / plain[-1].seconds
    yield (
        f"would stop {len(lost)} of {len(trials)} trials and take {share:.0%} of the seconds, scoring at rungs included"
        " (estimated by its share of the items)"
    )
    of_front = sorted(members.intersection(lost))
    yield f"of the {len(members)} members of the front {len(of_front)} would be stopped" + (
        f": {', '.join(of_front)}" if of_front else ""
    )
    kept = [losses[one.spec.trial_id] for one in stopped if one.state == "completed"]
    before, after = (hypervolume(_with_sft_model(one), reference_point) for one in (losses.values(), kept))
    yield f"hypervolume {after:.2f} of {before:.2f}"
    for level in sorted({rung.level for one in trials for rung in one.rungs}):
        pairs = [
            (rung._replace(constraints=()), _end(space, one))
            for one in trials
            for rung in one.rungs
            if rung.level == level
        ]
        here, there = zip(*pairs, strict=True)
        value = rank_correlation(here, there, space.file.scheduler.noise, reference_point)
        steps = sorted({rung.step for rung in here})
        yield (
            f"rung {level}, after {' or '.join(map(str, steps))} steps: rank correlation with the end"
            f" {'not known' if value is None else f'{value:.2f}'} over {len(pairs)} trials"
        )


def _simulated(
    space: SearchSpace, trials: Sequence[TrialState], recorded: Mapping[str, Recorded], rule: Stopping | None
) -> list[Ended]:
    return simulate(
        DesignProposer([one.spec for one in trials], SweepState()),
        lambda spec: recorded[spec.trial_id],
        scheduler=space.file.scheduler,
        rule=rule,
    )


def _check_same_scores(space: SearchSpace, name: str, state: SweepState) -> None:
    """ValueError where the sweep's rungs were scored, or judged feasible, by other numbers than the file's would be."""
    theirs, ours = state.resolved, space.resolved()
    for path in (("objectives",), ("search", "constraints")):
        old, new = (_at(one, path) for one in (theirs, ours))
        if old != new:
            key = ".".join(path)
            raise ValueError(f"--replay: the rungs of {name} were scored under {key} {old}, and the file has {new}")


def _at(content: Any, path: Sequence[str]) -> Any:
    for key in path:
        content = (content or {}).get(key)
    return content or {}


def _with_sft_model(losses: Iterable[tuple[float, float]]) -> NDArray[np.float64]:
    return np.array([*losses, SFT_MODEL[:2]])


def _is_whole(trial: TrialState, space: SearchSpace) -> bool:
    outcome = trial.outcome or {}
    objectives = space.file.objectives
    return outcome.get("state") == "completed" and all(
        outcome.get(name) is not None for name in (objectives.reward, objectives.tax)
    )


def _asked(space: SearchSpace, spec: TrialSpec) -> dict[int, int | None]:
    """By step of each rung that the file asks for, its items."""
    limit = spec.evaluate.get("limit")
    levels = rungs_of(space.file.scheduler, spec.params["steps"], spec.params.get("gap_steps", 1))
    return {step: items_at(space.file.scheduler, level, limit) for level, step in levels}


def _has(trial: TrialState) -> dict[int, int | None]:
    """By step of each rung that a trial was scored at, its items."""
    items = {level: limit for level, _, limit in trial.spec.rungs}
    return {rung.step: items.get(rung.level) for rung in trial.rungs}


def _missing(space: SearchSpace, trial: TrialState) -> bool:
    asked, has = _asked(space, trial.spec), _has(trial)
    return not asked or any(has.get(step, ()) != items for step, items in asked.items())


def _why(space: SearchSpace, whole: Sequence[TrialState]) -> str:
    if not whole:
        return "none ran to its end with both objectives"
    asked, has = _asked(space, whole[0].spec), _has(whole[0])
    said = [", ".join(f"{step} steps ({items or 'all'} items)" for step, items in one.items()) for one in (asked, has)]
    return (
        f"the file's rungs lie after {said[0] or 'no steps'}, and {whole[0].trial_id} was scored after"
        f" {said[1] or 'none'}; scheduler.first_rung, eta and items must lead to rungs that were scored"
    )


def _recorded(space: SearchSpace, folder: SweepFolder, trial: TrialState) -> Recorded:
    """A trial's rungs and seconds; that of scoring a rung is estimated from its share of the items."""
    outcome = trial.outcome or {}
    seconds, steps = outcome["seconds"], trial.spec.params["steps"]
    scoring = {rung.step: seconds["evaluate"] * _share(folder, trial, rung) for rung in trial.rungs}
    return Recorded(
        rungs={rung.step: (rung, scoring[rung.step]) for rung in trial.rungs},
        end={name: outcome[name] for name in (*_objectives(space), "reward_se_items")},
        step_seconds=max(0.0, seconds["train"] - sum(scoring.values())) / steps,
        score_seconds=seconds["evaluate"],
    )


def _share(folder: SweepFolder, trial: TrialState, rung: Rung) -> float:
    limit = {level: limit for level, _, limit in trial.spec.rungs}[rung.level]
    table = folder.reference_scores(trial.spec.family, trial.spec.sft_seed)
    items = table.groupby(["split", "kind", "task"])["item_id"].nunique()
    scored = items.sum()
    here = items.xs("search").clip(upper=scored if limit is None else limit).sum()
    return float(here / scored)


def _objectives(space: SearchSpace) -> tuple[str, str]:
    return space.file.objectives.reward, space.file.objectives.tax


def _losses(space: SearchSpace, outcome: Mapping[str, Any]) -> tuple[float, float]:
    reward, tax = _objectives(space)
    return outcome[tax], -outcome[reward]


def _end(space: SearchSpace, trial: TrialState) -> Rung:
    outcome = trial.outcome or {}
    reward, tax = _objectives(space)
    noise = (outcome.get("reward_se_items") or 0.0,)
    return Rung(level=-1, step=0, reward=outcome[reward], tax=outcome[tax], reward_noise=noise, tax_noise=())
