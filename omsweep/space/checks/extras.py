"""What a search space needs beside omsweep's own packages: a note in `check`, an error in `run`. Torch-free."""

from collections.abc import Iterator

from omsweep.evaluation.rewards.reward_models import REWARD_MODELS
from omsweep.evaluation.sandbox.run import available
from omsweep.evaluation.settings import SCORER_MODULES
from omsweep.extras import needs
from omsweep.families.family import PackagedRecipe
from omsweep.preferences.table import PREFERENCES
from omsweep.space.data_sources import algorithms_by_source
from omsweep.space.search_space import SearchSpace


def extra_notes(space: SearchSpace) -> list[str]:
    """One line for each part of the space whose packages are not installed here, or whose programs cannot be run."""
    found = [note for what, modules in _parts(space) if (note := needs(what, modules)) is not None]
    if space.evaluate.executes and (why := available()) is not None:
        found.append(f"{', '.join(space.evaluate.executes)}: programs cannot be run in the sandbox here: {why}")
    return found


def require_extras(space: SearchSpace) -> None:
    """ValueError with every line of `extra_notes`."""
    found = extra_notes(space)
    if found:
        raise ValueError("; ".join(found))


def _parts(space: SearchSpace) -> Iterator[tuple[str, tuple[str, ...]]]:
    for family in space.families:
        if isinstance(family.recipe, PackagedRecipe):
            yield f"family {family.name}", family.recipe.modules
    for source, _ in algorithms_by_source(space.preferences, space.shared, space.branches):
        if source.name is not None:
            yield f"preferences {source.name}", PREFERENCES[source.name].modules
    for task, modules in space.evaluate.suite.modules.items():
        yield f"tax task {task}", modules
    for reward in space.evaluate.all_rewards:
        yield f"scorer {reward.scorer}", SCORER_MODULES.get(reward.scorer, ())
        if reward.model is not None and reward.model in REWARD_MODELS:
            yield f"reward model {reward.model}", REWARD_MODELS[reward.model].modules
