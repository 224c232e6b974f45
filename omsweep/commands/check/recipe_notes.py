"""What `omsweep check` says of recipes that differ from plain training: lengths, adapters. Torch-free."""

from collections.abc import Iterator

from omsweep.space.branches import Branch
from omsweep.space.knobs import Fixed, Knob, edge_values
from omsweep.space.search_space import SearchSpace


def steps_of(space: SearchSpace) -> str:
    """How long trials train: one number, or from the shortest to the longest."""
    drawn = sorted({int(str(edge)) for branch in space.branches for edge in edge_values(_knob(space, branch, "steps"))})
    return str(drawn[0]) if len(drawn) == 1 else f"{drawn[0]} to {drawn[-1]}"


def recipe_notes(space: SearchSpace) -> list[str]:
    """What a user should know of the recipes although it is no mistake."""
    return list(_notes(space))


def _notes(space: SearchSpace) -> Iterator[str]:
    adapted = [
        b.label
        for b in space.branches
        if any(edge_values(space.knobs_of(b).get("lora_rank", Fixed(0)))) and (b.match or space.design.match) != "none"
    ]
    if adapted and space.file.mode == "compare":
        yield (
            f"design.match: the learning rate of adapters ({', '.join(adapted)}) is used as it is given: how far they"
            " move the weights does not follow from it; a trial's displacement says it"
        )
    decaying = [branch.label for branch in space.branches if _decays_over_several_lengths(space, branch)]
    if decaying:
        yield (
            f"steps: lr_scheduler decays over each run's own steps, so that fewer steps of {', '.join(decaying)} are"
            " not an early stop of more"
        )


def _decays_over_several_lengths(space: SearchSpace, branch: Branch) -> bool:
    several = len(edge_values(_knob(space, branch, "steps"))) > 1
    return several and any(name in ("linear", "cosine") for name in edge_values(_knob(space, branch, "lr_scheduler")))


def _knob(space: SearchSpace, branch: Branch, name: str) -> Knob:
    return space.knobs_of(branch).get(name, Fixed(getattr(space.file.train, name)))
