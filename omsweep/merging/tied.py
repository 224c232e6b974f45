"""Tied tensors: one tensor under two names, which a checkpoint may store once or twice."""

from collections.abc import Sequence

from omsweep.merging.layers import is_embedding
from omsweep.merging.sources import Source


def tied_names(sources: Sequence[Source]) -> dict[str, str]:
    """Names that are another name's tensor in every source.

    Two names are tied when at least one source holds the same tensor under both (one memory, or in folders equal bytes
    outside of layers), no source holds different tensors under them, and every source holds the one that leads: an
    embedding before a head, else the first by name.

    Returns:
        name -> the name that leads, which is merged in its place and keys its mask.
    """
    groups = [source.copies() for source in sources]
    linked = {name for copies in groups for group in copies for name in group}
    leaders: list[str] = []
    tied: dict[str, str] = {}
    everywhere = {name for name in linked if all(name in source for source in sources)}
    for name in sorted(linked, key=lambda name: (name not in everywhere, not is_embedding(name), name)):
        leader = next((leader for leader in leaders if _same(leader, name, sources, groups)), None)
        if leader is not None:
            tied[name] = leader
        elif name in everywhere:
            leaders.append(name)
    return tied


def _same(leader: str, name: str, sources: Sequence[Source], groups: Sequence[Sequence[set[str]]]) -> bool:
    both = [copies for source, copies in zip(sources, groups, strict=True) if name in source]
    return bool(both) and all(any({leader, name} <= group for group in copies) for copies in both)
