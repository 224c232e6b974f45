"""How many trials a sweep is made of. Torch-free."""

from omsweep.plan.starting_points import trial_count
from omsweep.space.posthoc import points_of
from omsweep.space.search_space import SearchSpace


def trained_count(space: SearchSpace) -> int:
    """Trials that are trained: all places of the design, or what a search starts; raises SpaceError."""
    if space.file.mode == "search":
        return trial_count(space)
    design = space.design
    places = len(space.families) * design.sft_seeds * design.blocks * design.seeds
    return places * len(space.branches) * max(1, len(design.ladder))


def merged_count(space: SearchSpace) -> int:
    """Post-hoc points of these trials; of a search, which may train the branch with most of them only, at most."""
    points = [points_of(space.posthoc, branch.label) for branch in space.branches]
    trained = trained_count(space)
    return max(points) * trained if space.file.mode == "search" else trained // len(points) * sum(points)
