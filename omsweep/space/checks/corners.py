"""What a check has to try of a branch's knobs: fixed values, choices, ends of ranges, and their kinds. Torch-free."""

import itertools
import math
from collections.abc import Iterator, Mapping

from omsweep.space.knobs import Fixed, Knob, Scalar, SpaceError, edge_values
from omsweep.space.schema import MOST

WHOLE_NUMBERS = ("steps", "warmup_steps", "gap_steps", "min_kept", "lora_rank")
WORDS = ("algorithm", "lr_scheduler", "semantics", "alpha_schedule", "rescale", "elect", "tau_mask", "task_vector")
PAIRED = 8
"""Values that a choice may have for all of them to be tried with those of other knobs."""


def edges(knobs: Mapping[str, Knob], *, together: int = 1) -> Iterator[tuple[dict[str, Scalar], str | None]]:
    """Values of all knobs: the first of each, then every other one of up to `together` knobs at a time.

    Of a choice of more than `PAIRED` numbers the lowest and the highest alone meet those of other knobs.

    Yields:
        The values, and the name of the knob that was changed last (None: none).
    """
    usual = {name: edge_values(knob)[0] for name, knob in knobs.items()}
    others = {name: rest for name, knob in knobs.items() if (rest := edge_values(knob)[1:])}
    yield usual, None
    for size in range(1, together + 1):
        tried = others if size == 1 else {name: _outermost(values) for name, values in others.items()}
        for names in itertools.combinations(tried, size):
            for values in itertools.product(*(tried[name] for name in names)):
                yield {**usual, **dict(zip(names, values, strict=True))}, names[-1]


def _outermost(values: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    numbers = [value for value in values if isinstance(value, int | float)]
    return values if len(values) <= PAIRED or len(numbers) < len(values) else (min(numbers), max(numbers))


def check_kind(path: str, name: str, value: Scalar) -> None:
    """Whole numbers, numbers and words where they belong; raises SpaceError."""
    if isinstance(value, Mapping):  # of numbers, checked when it was read
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or isinstance(value, float)
    if name in WHOLE_NUMBERS and not whole:
        raise SpaceError(path, f"must be a whole number, got {value!r}")
    if name not in WORDS and not number and not (value is None and name == "clip"):
        raise SpaceError(path, f"must be a number, got {value!r}")
    if isinstance(value, float) and name != "clip" and not math.isfinite(value):
        raise SpaceError(path, f"must be finite, got {value!r}")
    if name in WHOLE_NUMBERS and isinstance(value, int) and value > MOST:
        raise SpaceError(path, f"must be at most {MOST}, got {value!r}")


def lies_idle(knobs: Mapping[str, Knob], name: str, needed: str) -> bool:
    """Whether `name` is given and `needed`, without which it says nothing, is never above 0."""
    return name in knobs and not any(edge_values(knobs.get(needed, Fixed(0))))
