"""What a search knows before its first trial: results of earlier sweeps (`search.warm_start`), as plain data.

A result is one of this search where the recipe lies inside its space and everything else that a trial's result depends
on is the same: settings of training, preference data, how policies are scored, the SFT model, files that both name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omsweep.plan.forking import again
from omsweep.plan.told import told
from omsweep.space.inputs import changed, inputs_of
from omsweep.space.knobs import SpaceError
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TrialSpec
from omsweep.store.state import SweepState, TrialState
from omsweep.strict_json import flatten, plain

RUNS_ALONE = ("train.seed", "train.merge.seed")
"""Settings in which results of one recipe differ."""


class Earlier(NamedTuple):
    """Results of earlier sweeps.

    Attributes:
        known: by family, `of` (which trial), `params`, `values` and `constraints` of each.
        said: a line for each sweep.
        left_out: those of them from which something is left out.
    """

    known: Mapping[str, list[dict[str, Any]]]
    said: list[str]
    left_out: list[str]


def check_earlier(space: SearchSpace) -> None:
    """Whether the sweeps of `search.warm_start` are there and have what `search.transfer_from` asks for; SpaceError."""
    if not space.search.warm_start:
        return
    found, source = read_earlier(space), space.search.transfer_from
    if source is not None and source not in space.family_names and not found.known[source]:
        raise SpaceError(
            "search.transfer_from", f"no usable trial of {source!r} in warm_start: {'; '.join(found.said)}"
        )


def read_earlier(space: SearchSpace) -> Earlier:
    """The results of the sweeps in `search.warm_start` that are results of this search; raises SpaceError."""
    families = [*space.family_names, *([source] if (source := space.search.transfer_from) else [])]
    known: dict[str, list[dict[str, Any]]] = {name: [] for name in families}
    said: list[str] = []
    left_out: list[str] = []
    for index, path in enumerate(space.search.warm_start):
        state = _state(path, f"search.warm_start.{index}")
        finished = [one for one in state.ended() if (one.outcome or {}).get("state") == "completed"]
        finished = [one for one in finished if one.fields.get("kind", "trained") == "trained"]
        reasons = [_unusable(space, one, families) for one in finished]
        if (other := _other_inputs(space, state)) is not None:
            reasons = [other] * len(finished)
        for trial, reason in zip(finished, reasons, strict=True):
            if reason is None:
                known[str(trial.fields["family"])].append(_point(space, trial, path))
        out = [f"{trial.trial_id}: {why}" for trial, why in zip(finished, reasons, strict=True) if why is not None]
        line = f"search.warm_start: {len(finished) - len(out)} of {len(finished)} finished trials of {path} are known"
        said.append(f"{line}; left out are {len(out)}, the first {out[0]}" if out else line)
        left_out += said[-1:] if out else []
    return Earlier(known, said, left_out)


def _state(path: str, key: str) -> SweepState:
    folder = Path(path).expanduser().absolute()
    try:
        return SweepFolder(folder.parent, folder.name).state()
    except (OSError, ValueError) as error:
        raise SpaceError(key, f"must be the folder of a sweep: {error}") from None


def _other_inputs(space: SearchSpace, state: SweepState) -> str | None:
    here, there = inputs_of(space), state.created.get("inputs", {})
    both = there.keys() & here.keys()
    return next(iter(changed({key: there[key] for key in both}, {key: here[key] for key in both})), None)


def _unusable(space: SearchSpace, trial: TrialState, families: Sequence[str]) -> str | None:
    """Why a finished trial says nothing about a recipe of this search; None where it does."""
    family = str(trial.fields["family"])
    if family not in families:
        return f"it is of family {family!r}"
    if trial.spec.train is None:
        return "its settings were not recorded"
    made = again(space, trial, _stand_in(space, family))
    if made is None:
        return "its recipe lies outside of the search space"
    there, here = (_settings(spec, own=family in space.family_names) for spec in (trial.spec, made.spec))
    for path in {**here, **there}:
        if there.get(path) != here.get(path):
            return f"{path} is {there.get(path)!r} there and {here.get(path)!r} here"
    if told(space, trial.outcome).state != "COMPLETE":
        return "it lacks an objective or a constrained number"
    return None


def _settings(spec: TrialSpec, *, own: bool) -> dict[str, Any]:
    """What a result depends on beside seeds; of another family's model not its dtype."""
    named = {"train": spec.train, "evaluate": spec.evaluate, "data": spec.data, "task_vector": spec.task_vector}
    ignored = RUNS_ALONE if own else (*RUNS_ALONE, "train.dtype")
    flat = flatten(plain({**named, "sft_seed": spec.sft_seed or 0}))
    return {path: value for path, value in flat.items() if path not in ignored}


def _point(space: SearchSpace, trial: TrialState, path: str) -> dict[str, Any]:
    made = again(space, trial, _stand_in(space, str(trial.fields["family"])))
    assert made is not None
    assert made.drawn is not None
    end = told(space, trial.outcome)
    assert end.values is not None
    return {
        "of": f"{path}/{trial.trial_id}",
        "params": made.drawn["params"],
        "values": list(end.values),
        "constraints": dict(end.constraints),
    }


def _stand_in(space: SearchSpace, family: str) -> str:
    """The family as which a trial is made again: its own, or the first where this search has only its results."""
    return family if family in space.family_names else space.family_names[0]
