"""Post-hoc points: models made of a policy, its SFT model and its base by arithmetic on weights. Torch-free.

What a point is and which are allowed; `omsweep.merging.offline.merge_point` computes one.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from numbers import Real
from typing import Any

from omsweep.merging.names import THIRDS, NamedWeights


@dataclass(frozen=True, kw_only=True)
class PosthocMethod:
    """One row of the table: start + C_i(w_i S(end_i - origin_i)) over base, SFT model and policy.

    Attributes:
        formula: the same in symbols, w being the point's weight.
        start: the model that is moved.
        differences: (end, origin) of each term.
        merge: the row of `omsweep.merging.mixture.OFFLINE_METHODS` that says S and C.
        sparse: whether there is a density.
        by_name: whether the weight goes by part of the model.
        limits: least and largest weight.
        source: where it is published.
    """

    formula: str
    start: str
    differences: tuple[tuple[str, str], ...]
    merge: str = "linear"
    sparse: bool = False
    by_name: bool = False
    limits: tuple[float, float] = (0.0, 1.0)
    source: str

    @property
    def models(self) -> tuple[str, ...]:
        """Those of `base`, `sft` and `policy` that take part; the policy always, whose files the result has."""
        used = {"policy", self.start}.union(*self.differences)
        return tuple(model for model in ("base", "sft", "policy") if model in used)

    def weights(self, weight: float) -> tuple[float, ...]:
        """The terms' weights from the point's: w, or w and 1 - w."""
        return (weight,) if len(self.differences) == 1 else (weight, 1.0 - weight)

    @property
    def allowed(self) -> str:
        """The range of the weight in words."""
        least, most = self.limits
        if math.isfinite(most):
            return f"in [{least:g}, {most:g}]"
        return f"finite and >= {least:g}" if math.isfinite(least) else "finite"


_FROM_SFT = (("policy", "sft"),)
_FROM_BASE = (("policy", "base"), ("sft", "base"))

POSTHOC_METHODS: Mapping[str, PosthocMethod] = {
    "linear": PosthocMethod(
        formula="sft + w (policy - sft)",
        start="sft",
        differences=_FROM_SFT,
        source="arXiv:2203.05482",
    ),
    "task_arithmetic": PosthocMethod(
        formula="base + w (policy - base) + (1 - w) (sft - base)",
        start="base",
        differences=_FROM_BASE,
        merge="task_arithmetic",
        source="arXiv:2212.04089",
    ),
    "dare": PosthocMethod(
        formula="base + w S(policy - base) + (1 - w) S(sft - base), S: at random, over density",
        start="base",
        differences=_FROM_BASE,
        merge="dare",
        sparse=True,
        source="arXiv:2311.03099",
    ),
    "ties": PosthocMethod(
        formula="base + mean, weighted by w and 1 - w, of S(policy - base), S(sft - base) that agree, S: the largest",
        start="base",
        differences=_FROM_BASE,
        merge="ties",
        sparse=True,
        source="arXiv:2306.01708",
    ),
    "ties_sum": PosthocMethod(
        formula="base + sum of w S(policy - base), (1 - w) S(sft - base) that agree, S: the largest",
        start="base",
        differences=_FROM_BASE,
        merge="ties_sum",
        sparse=True,
        source="arXiv:2306.01708, without its mean",
    ),
    "layerwise": PosthocMethod(
        formula="sft + w(part) (policy - sft)",
        start="sft",
        differences=_FROM_SFT,
        by_name=True,
        source="arXiv:2309.06256",
    ),
    "expo": PosthocMethod(
        formula="policy + w (policy - sft)",
        start="policy",
        differences=_FROM_SFT,
        limits=(0.0, math.inf),
        source="arXiv:2404.16792",
    ),
    "tau_shift": PosthocMethod(
        formula="policy + w (sft - base)",
        start="policy",
        differences=(("sft", "base"),),
        limits=(-math.inf, math.inf),
        source="the null of online merging, docs/deviations.md",
    ),
}


@dataclass(frozen=True, kw_only=True)
class PosthocPoint:
    """One post-hoc model, as plain values.

    Attributes:
        method: a key of `POSTHOC_METHODS`.
        weight: w of the row's formula. For `layerwise` an ordered mapping of thirds of the layers (`input`, `middle`,
            `output`) or globs over tensor names to weights, of which the first that matches counts; kept as pairs.
        density: p in (0, 1], share of entries kept; `dare`, `ties` and `ties_sum` only.
        seed: keys masks and ties.

    Raises:
        ValueError: another method, or a value that it does not take.
    """

    method: str
    weight: float | NamedWeights | Mapping[str, float]
    density: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in POSTHOC_METHODS:
            raise ValueError(f"method must be one of {', '.join(POSTHOC_METHODS)}, got {self.method!r}")
        if isinstance(self.weight, Mapping):
            object.__setattr__(self, "weight", tuple(self.weight.items()))
        for weight in _checked_weights(self.method, self.weight):
            _check_weight(self.method, weight)
        if not _is_number(self.density) or not 0.0 < self.density <= 1.0:
            raise ValueError(f"density must be in (0, 1], got {self.density!r}")
        if self.density < 1.0 and not self.row.sparse:
            takers = ", ".join(name for name, row in POSTHOC_METHODS.items() if row.sparse)
            raise ValueError(f"method {self.method} does not take density ({takers} do), got {self.density!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be a whole number >= 0, got {self.seed!r}")

    @property
    def row(self) -> PosthocMethod:
        """The method's row."""
        return POSTHOC_METHODS[self.method]

    @property
    def named_weights(self) -> NamedWeights:
        """The weight as (key, weight) pairs; one number is that of every tensor."""
        return self.weight if isinstance(self.weight, tuple) else (("*", self.weight),)

    def as_data(self) -> dict[str, Any]:
        """What fixes the point, for records: method, weight, and density and seed where they matter."""
        weight = dict(self.weight) if isinstance(self.weight, tuple) else self.weight
        data = {"method": self.method, "weight": weight}
        return data | ({"density": self.density, "seed": self.seed} if self.row.sparse else {})


def posthoc_points(
    method: str,
    *,
    weights: Iterable[float | NamedWeights | Mapping[str, float]],
    densities: Iterable[float] = (1.0,),
    seeds: Iterable[int] = (0,),
) -> tuple[PosthocPoint, ...]:
    """The grid of weights, densities and seeds, in this order of loops, each point once.

    Raises:
        ValueError: as for `PosthocPoint`.
    """
    grid = product(weights, densities, seeds)
    points = (PosthocPoint(method=method, weight=weight, density=density, seed=seed) for weight, density, seed in grid)
    return tuple(dict.fromkeys(points))


def _checked_weights(method: str, weight: object) -> tuple[object, ...]:
    """Every number in a weight."""
    if POSTHOC_METHODS[method].by_name:
        if not isinstance(weight, tuple) or not weight:
            raise ValueError(
                f"weight of {method} must go by part: {', '.join(THIRDS)} or globs over tensor names, got {weight!r}"
            )
        twice = [key for key, count in Counter(key for key, _ in weight).items() if count > 1]
        if twice:
            raise ValueError(f"weight of {method} must have each part once, got {', '.join(map(repr, twice))} twice")
        return tuple(number for _, number in weight)
    if isinstance(weight, tuple):
        raise ValueError(f"weight of {method} must be one number {POSTHOC_METHODS[method].allowed}, got {dict(weight)}")
    return (weight,)


def _check_weight(method: str, weight: Any) -> None:
    least, most = POSTHOC_METHODS[method].limits
    if not _is_number(weight) or not math.isfinite(weight) or not least <= weight <= most:
        raise ValueError(f"weight of {method} must be {POSTHOC_METHODS[method].allowed}, got {weight!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
