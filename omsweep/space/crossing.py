"""Crossed knobs: every choice of them is run in every block, as a branch of its own. Torch-free.

`design: {cross: [beta]}` turns `adamw` with `beta: {choice: [0.01, 0.1]}` into `adamw-beta-0.01` and `adamw-beta-0.1`,
which meet the same draws, training seed and data order, so that levels of a knob are paired as methods are.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from omsweep.space.branches import Branch, allowed_knobs
from omsweep.space.knobs import Choice, Fixed, Knob, Scalar, SpaceError
from omsweep.space.schema import MOST_TRIALS


def crossed(branches: Sequence[Branch], shared: Mapping[str, Knob], names: Sequence[str]) -> tuple[Branch, ...]:
    """Each branch once for every combination of the choices of `names` that are alive under it, in the file's order.

    A branch that fixes one of them, or whose method does not take it, has no levels of it.

    Raises:
        SpaceError: a name that no branch draws by `choice`, or that one draws from a range; a label that occurs twice.
    """
    if len(set(names)) < len(names):
        raise SpaceError("design.cross", f"must not repeat a knob, got {list(names)!r}")
    for index, name in enumerate(names):
        knobs = [knob for branch in branches if (knob := alive(branch, shared).get(name)) is not None]
        ranges = any(not isinstance(knob, Choice | Fixed) for knob in knobs)
        if ranges or not any(isinstance(knob, Choice) for knob in knobs):
            problem = "is drawn from a range" if ranges else "is not drawn by any method here"
            raise SpaceError(f"design.cross.{index}", f"{name!r} {problem}; give it as {{choice: [...]}}")
    levels = sum(math.prod(map(len, _choices(branch, shared, names).values())) for branch in branches)
    if levels > MOST_TRIALS:
        raise SpaceError("design.cross", f"must give at most {MOST_TRIALS} levels of all methods, gives {levels}")
    found = tuple(level for branch in branches for level in _levels(branch, shared, names))
    labels = [branch.label for branch in found]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise SpaceError("design.cross", f"gives the label {twice!r} twice, by {list(names)!r}")
    return found


def alive(branch: Branch, shared: Mapping[str, Knob]) -> dict[str, Knob]:
    """The knobs alive under a branch: the shared ones that its method takes, then its own, which replace them."""
    allowed = allowed_knobs(branch.method)
    return {**{name: knob for name, knob in shared.items() if name in allowed}, **branch.knobs}


def _levels(branch: Branch, shared: Mapping[str, Knob], names: Sequence[str]) -> list[Branch]:
    choices = _choices(branch, shared, names)
    found = []
    for values in itertools.product(*choices.values()):
        levels = dict(zip(choices, values, strict=True))
        label = "-".join([branch.label, *(level_name(name, value) for name, value in levels.items())])
        fixed = {name: Fixed(value) for name, value in levels.items()}
        found.append(replace(branch, label=label, origin=branch.label, knobs={**branch.knobs, **fixed}))
    return found


def _choices(branch: Branch, shared: Mapping[str, Knob], names: Sequence[str]) -> dict[str, tuple[Scalar, ...]]:
    knobs = alive(branch, shared)
    return {name: knob.values for name in names if isinstance(knob := knobs.get(name), Choice)}


def level_name(name: str, value: Scalar) -> str:
    """How a level stands in a label: `beta-0.01`, `clip-none`, and words alone, as in `adamw-kto`."""
    if isinstance(value, str):
        return value
    return f"{name}-none" if value is None else f"{name}-{value:g}"
