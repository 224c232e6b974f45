"""Which results of an earlier sweep are results of a new one: what `omsweep fork` takes over. Torch-free."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from omsweep.plan.posthoc import plan_posthoc
from omsweep.plan.proposer import Proposal
from omsweep.plan.starting_points import live_knobs
from omsweep.space.knobs import Fixed, contains
from omsweep.space.samples import make_sample
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import trial_spec
from omsweep.store.records import TrialSpec
from omsweep.store.state import SweepState, TrialState
from omsweep.strict_json import flatten, plain

FORKED = "forked"
"""`proposal` of a search's trials that were taken over: they are in its study and do not count as its own."""
Usable = Callable[[TrialState], bool]


class Candidate(NamedTuple):
    """A finished trial of the earlier sweep beside what the new one would make of it."""

    trial: TrialState
    proposal: Proposal | None

    @property
    def different(self) -> str | None:
        """The first setting that differs; None where both are the same trial."""
        if self.proposal is None:
            return "its parameters lie outside of the search space"
        there, here = (flatten(plain(spec.model_dump())) for spec in (self.trial.spec, self.proposal.spec))
        for path in {**here, **there}:
            if there.get(path) != here.get(path):
                return f"{path} is {there.get(path)!r} there and {here.get(path)!r} here"
        return None


def candidates(
    space: SearchSpace, specs: Sequence[TrialSpec] | None, old: SweepState, usable: Usable
) -> list[Candidate]:
    """The usable trials of the earlier sweep that a new one may have too, in the order they were proposed.

    A trial of a design is looked for by its id. A trial of a search keeps its id and seed, and is made again from its
    knobs' values in the new space. Post-hoc points are those of the trials that are taken over.

    Args:
        space: of the new sweep.
        specs: its trials in mode compare, None of a search.
        old: the earlier sweep.
        usable: whether a trial's results are there and count.
    """
    trained = list(_trained(space, specs, old, usable))
    taken = [one.trial.record for one in trained if one.different is None]
    # what is planned depends on whether there are policies; those of an earlier sweep may have been removed since
    there = [record.model_copy(update={"policy_path": record.policy_path or "removed"}) for record in taken]
    points = (spec for specs_ in plan_posthoc(space, there).specs.values() for spec in specs_)
    return trained + list(_by_id(points, old, usable))


def _trained(
    space: SearchSpace, specs: Sequence[TrialSpec] | None, old: SweepState, usable: Usable
) -> Iterator[Candidate]:
    if specs is not None:
        yield from _by_id(specs, old, usable)
        return
    for trial in old.proposed():
        if trial.drawn is not None and usable(trial):
            yield Candidate(trial, again(space, trial, str(trial.fields["family"])))


def _by_id(specs: Sequence[TrialSpec] | Iterator[TrialSpec], old: SweepState, usable: Usable) -> Iterator[Candidate]:
    for spec in specs:
        trial = old.trials.get(spec.trial_id)
        if trial is not None and usable(trial):
            yield Candidate(trial, Proposal(spec))


def again(space: SearchSpace, trial: TrialState, family: str) -> Proposal | None:
    """A trained trial as a search would make it for a family; None where it could not draw it."""
    fields: Mapping[str, Any] = {**trial.fields.get("params", {}), **trial.fields}
    branch = next((one for one in space.branches if one.label == fields["label"]), None)
    if branch is None or family not in space.family_names:
        return None
    live = live_knobs(space, branch)
    if not all(name in fields and contains(knob, fields[name]) for name, (_, knob) in live.items()):
        return None
    sample = make_sample(
        space,
        branch,
        {name: fields[name] for name in live},
        trial_id=trial.trial_id,
        family=family,
        block=None,
        seed=fields["seed"],
        baseline=bool(fields.get("baseline")),
    )
    drawn = {path: fields[name] for name, (path, knob) in live.items() if not isinstance(knob, Fixed)}
    spec = trial_spec(space, {**sample, "proposal": fields.get("proposal")})
    return Proposal(spec, {"params": {"method": branch.label, **drawn}, "proposal": FORKED, "system": {}})


def numbered(old: SweepState) -> dict[str, int]:
    """By family, how many numbers a search has given to its trials, and to those it was forked with."""
    counts: dict[str, int] = dict(old.created.get("forked_from", {}).get("numbered", {}))
    for trial in old.trials.values():
        if trial.drawn is not None and trial.drawn["proposal"] != FORKED:
            family = str(trial.fields["family"])
            counts[family] = counts.get(family, 0) + 1
    return counts


def forked_trials(state: SweepState) -> int:
    """How many trained trials of a search were taken over and do not count as its own."""
    return sum(one.drawn is not None and one.drawn["proposal"] == FORKED for one in state.trials.values())
