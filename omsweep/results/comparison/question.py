"""What a sweep is asked: the contrasts that its file names (`comparison`), and what cannot be shown.

Imports nothing heavy. Read from the resolved search space, before anything is trained or after.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omsweep.results.comparison.points import Arm, Pair


@dataclass(frozen=True, kw_only=True)
class OfflineGrid:
    """Merges that every run of some arms gets after training.

    Args:
        name: entry of `posthoc`.
        labels: of the branches whose runs get them.
        points: number of merges of a run.
        travel_of: label of the branch whose runs give one more, a shift along tau.
        one_way: whether the merges of a run lie on one way back to the SFT model, in the order of their weights, or are
            the one shift.
    """

    name: str
    labels: frozenset[str]
    points: int
    travel_of: str | None
    one_way: bool


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a compare sweep with a section `comparison` is to answer.

    Args:
        contrasts: an arm and what it is compared against, as the file names them.
        baseline: the arm whose area is the unit.
        tax_limit: t, points; one for all families, or by family.
        delta: difference, as a share of the baseline's area, below which two arms are equivalent.
        ladder: doses.
        grids: by name, what runs are merged after training.
        families: of the sweep.
        sft_seeds: per family.
        runs: per SFT seed, blocks x training seeds.
        missing: what cannot be shown, and why, one sentence each.
    """

    contrasts: tuple[Pair, ...]
    baseline: Arm
    tax_limit: float | Mapping[str, float]
    delta: float
    ladder: tuple[float, ...]
    grids: Mapping[str, OfflineGrid]
    families: tuple[str, ...]
    sft_seeds: int
    runs: int
    missing: tuple[str, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, the baseline first, in the order in which the contrasts name them."""
        return tuple(dict.fromkeys([self.baseline, *(arm for pair in self.contrasts for arm in reversed(pair))]))

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of all arms."""
        return tuple(dict.fromkeys(arm.label for arm in self.arms))

    def limit_of(self, family: str) -> float:
        """A family's t, points."""
        return float(self.tax_limit[family] if isinstance(self.tax_limit, Mapping) else self.tax_limit)

    def limit_text(self, families: Sequence[str]) -> str:
        """The families' t: `3`, or `10 (tiny-llama), 3 (tiny-qwen2)`."""
        limits = {family: f"{self.limit_of(family):g}" for family in families}
        same = len(set(limits.values())) == 1
        return next(iter(limits.values())) if same else ", ".join(f"{t} ({family})" for family, t in limits.items())


def question_of(resolved: Mapping[str, Any]) -> Question | None:
    """What a resolved search space asks; None unless it has a section `comparison`.

    Raises:
        ValueError: an arm that is not a label, or a label and a grid.
    """
    asked = resolved.get("comparison")
    if asked is None:
        return None
    design, limit = resolved.get("design") or {}, asked["tax_limit"]
    sft_seeds, runs = int(design.get("sft_seeds", 1)), int(design.get("blocks", 1)) * int(design.get("seeds", 1))
    return Question(
        contrasts=tuple((arm_of(first), arm_of(second)) for first, second in asked["contrasts"]),
        baseline=arm_of(asked["baseline"]),
        tax_limit=dict(limit) if isinstance(limit, Mapping) else float(limit),
        delta=float(asked["delta"]),
        ladder=tuple(design.get("ladder") or ()),
        grids={grid.name: grid for grid in _grids(resolved)},
        families=tuple(one["name"] if isinstance(one, Mapping) else str(one) for one in resolved.get("families") or ()),
        sft_seeds=sft_seeds,
        runs=runs,
        missing=tuple(_missing_repeats(sft_seeds, runs)),
    )


def arm_of(name: str) -> Arm:
    """`ondare` or `ondare + path`; raises ValueError."""
    parts = [part.strip() for part in name.split("+")]
    if len(parts) > 2 or not all(parts):
        raise ValueError(f"must be a label of space.method, or LABEL + GRID with an entry of posthoc, got {name!r}")
    return Arm(*parts)


def _grids(resolved: Mapping[str, Any]) -> Iterator[OfflineGrid]:
    method = resolved["space"].get("method")
    labels = [method] if isinstance(method, str) else list(method or {})
    for name, entry in (resolved.get("posthoc") or {}).items():
        given = entry or {}
        lists = (given.get("weights") or (), given.get("densities") or (None,), given.get("seeds") or (None,))
        travel_of = given.get("travel_of")
        yield OfflineGrid(
            name=name,
            labels=frozenset(labels if given.get("of") is None else given["of"]),
            points=math.prod(len(values) for values in lists),
            travel_of=travel_of,
            one_way=not lists[0] if travel_of else _is_way(lists),
        )


def _is_way(lists: Sequence[Sequence[Any]]) -> bool:
    weights, *others = lists
    numbers = all(isinstance(weight, int | float) and 0 < weight < 1 for weight in weights)
    return numbers and all(len(values) == 1 for values in others)


def _missing_repeats(sft_seeds: int, runs: int) -> Iterator[str]:
    if sft_seeds * runs < 2:
        yield "verdicts and intervals: one run of each arm in a family, nothing repeated (design.sft_seeds, seeds)"
    elif sft_seeds < 2:
        yield "other SFT models: with one SFT seed (design.sft_seeds) everything holds for that model alone"
