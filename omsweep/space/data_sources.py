"""Which data the branches of a space train on: preference data, and SFT data that are replayed. Torch-free."""

from collections.abc import Mapping, Sequence

from omsweep.families.family import ModelFamily, TinyRecipe
from omsweep.preferences.settings import PreferenceData
from omsweep.space.branches import Branch
from omsweep.space.crossing import alive
from omsweep.space.knobs import Fixed, Knob, SpaceError, edge_values


def replays(shared: Mapping[str, Knob], branches: Sequence[Branch]) -> bool:
    """Whether some branch mixes SFT data in."""
    return any(any(edge_values(alive(b, shared).get("replay_share", Fixed(0)))) for b in branches)


def check_replay(
    replay: PreferenceData | None,
    families: Sequence[ModelFamily],
    shared: Mapping[str, Knob],
    branches: Sequence[Branch],
) -> None:
    """SFT data where they are replayed, and nowhere else; raises SpaceError."""
    wanted = replays(shared, branches)
    if replay is not None and not wanted:
        raise SpaceError("replay", "says which SFT data replay_share mixes in, and no replay_share here is above 0")
    foreign = [family.name for family in families if not isinstance(family.recipe, TinyRecipe)]
    if wanted and replay is None and foreign:
        raise SpaceError(
            "replay",
            f"is missing: replay_share mixes in SFT data, and {foreign[0]!r} brings none; give a file or {{hub: ...}}",
        )


def algorithms_by_source(
    preferences: PreferenceData, shared: Mapping[str, Knob], branches: Sequence[Branch]
) -> list[tuple[PreferenceData, list[str]]]:
    """Every preference data set that some branch trains on, with the algorithms that can be drawn for it."""
    found: dict[PreferenceData, set[str]] = {}
    for branch in branches:
        drawn = {str(value) for value in edge_values(alive(branch, shared)["algorithm"])}
        found.setdefault(branch.preferences or preferences, set()).update(drawn)
    return [(source, sorted(algorithms)) for source, algorithms in found.items()]
