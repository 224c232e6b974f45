"""Whether a search space's controls can be run: task vectors its methods merge, SFT models its families have."""

from collections.abc import Iterator, Mapping, Sequence

from omsweep.families.family import ModelFamily
from omsweep.merging.methods import METHODS, method_names
from omsweep.space.branches import TASK_VECTOR, Branch
from omsweep.space.knobs import Knob, SpaceError, edge_values
from omsweep.store.records import TASK_VECTORS


def check_task_vectors(families: Sequence[ModelFamily], shared: Mapping[str, Knob], branches: Sequence[Branch]) -> None:
    """Known kinds of task vector only, under methods that merge one, of families that have it; raises SpaceError."""
    if TASK_VECTOR in shared and not any(METHODS[branch.method].merges_tau for branch in branches):
        allowed = ", ".join(method_names(lambda method: method.merges_tau))
        raise SpaceError(f"space.{TASK_VECTOR}", f"no method here merges a task vector; allowed with: {allowed}")
    alone = [family.name for family in families if family.sft_models == 1]
    for path, knob in _task_vector_knobs(shared, branches):
        for kind in edge_values(knob):
            if kind not in TASK_VECTORS:
                raise SpaceError(path, f"must be one of {', '.join(TASK_VECTORS)}, got {kind!r}")
            if kind == "other_seed" and alone:
                raise SpaceError(
                    path,
                    f"other_seed needs a second SFT model, and family {alone[0]!r} has one: give it other_sft, a folder"
                    " or hub id trained from the same base with another seed",
                )


def check_sft_seeds(families: Sequence[ModelFamily], seeds: range) -> None:
    """As many SFT models in every family as the design asks for; raises SpaceError."""
    counted = f" (first_sft_seed {seeds.start} and {len(seeds)})" if seeds.start else ""
    for family in families:
        if family.sft_models is not None and family.sft_models < seeds.stop:
            raise SpaceError(
                "design.sft_seeds",
                f"must be at most {family.sft_models}, the number of SFT models of family {family.name!r}, got"
                f" {seeds.stop}{counted}; give it more with other_sft: [FOLDER_OR_HUB_ID, ...]",
            )


def other_seed(sft_seed: int, seeds: range) -> int:
    """The SFT seed whose task vector `other_seed` is: the design's next, or a neighbour where it has one only."""
    if len(seeds) > 1:
        return seeds.start + (sft_seed - seeds.start + 1) % len(seeds)
    return sft_seed - 1 if sft_seed else 1


def _task_vector_knobs(shared: Mapping[str, Knob], branches: Sequence[Branch]) -> Iterator[tuple[str, Knob]]:
    """Every knob `task_vector` with its key path."""
    if TASK_VECTOR in shared:
        yield f"space.{TASK_VECTOR}", shared[TASK_VECTOR]
    for branch in branches:
        if TASK_VECTOR in branch.knobs:
            yield f"space.method.{branch.label}.{TASK_VECTOR}", branch.knobs[TASK_VECTOR]
