"""What to merge and how, as frozen settings that check themselves, and how much state they ask for. Torch-free."""

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

from omsweep.merging.methods import ALPHA_SCHEDULES, ELECTIONS, METHODS, RESCALES, SEMANTICS_NAMES, TAU_MASKS

FLOAT32_BYTES = 4
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
MASTER_BYTES = {"float32": 0, "bfloat16": 2, "float16": 4}
"""Bytes of a master weight besides the parameter itself, with precision `auto`; see `omsweep.optim.precision`."""


@dataclass(frozen=True)
class ResolvedMerge:
    """`OnlineMerge` with every axis at its effective value; an axis the method does not have is None.

    Attributes:
        alpha: the largest merging weight.
        alpha_by_name: (pattern, weight) pairs, the first that matches a parameter's name counts; None: `alpha` for all.
        clip: bound of |tau| after rescaling, None = no clamp.
        semantics: None for methods that the two semantics do not tell apart.
    """

    method: str
    semantics: str | None
    alpha: float
    density: float
    gap_steps: int
    seed: int
    alpha_schedule: str
    rescale: str | None
    elect: str | None
    tau_mask: str | None
    clip: float | None
    min_kept: int | None
    spread: float | None
    average_rate: float | None
    alpha_by_name: tuple[tuple[str, float], ...] | None

    @property
    def needs_task_vector(self) -> bool:
        """Whether tau takes part: with a positive alpha, or in an unweighted election,
        which asks tau's sign even at alpha = 0."""
        return METHODS[self.method].merges_tau and (self.alpha > 0.0 or self.elect == "unweighted")

    @property
    def needs_reference(self) -> bool:
        """Whether theta_r is needed (`anchor`)."""
        return METHODS[self.method].pull == "reference"

    @property
    def tau_is_fixed(self) -> bool:
        """Whether S(tau) is the same at every merge."""
        return self.tau_mask == "fixed" or self.density == 1.0

    def alpha_of(self, name: str) -> float:
        """The merging weight of one parameter, by canonical name.

        Raises:
            ValueError: no pattern of alpha matches.
        """
        if self.alpha_by_name is None:
            return self.alpha
        for pattern, weight in self.alpha_by_name:
            if fnmatchcase(name, pattern):
                return weight
        patterns = ", ".join(pattern for pattern, _ in self.alpha_by_name)
        raise ValueError(
            f"alpha must have a pattern for every parameter, got none for {name} among {patterns}; end with *"
        )


@dataclass(frozen=True)
class OnlineMerge:
    """One online merging method with its knobs (arXiv:2405.17931).

    Args:
        method: a key of `METHODS`.
        semantics: `equations` or `released`; must be given for `ondare` and `onties`, optional for `childtuning`
            (default `equations`). Says the value of each axis below that is None.
        alpha: merging weight of the task vector, in [0, 1]: one for all, or by parameter name as an ordered mapping
            of patterns (`fnmatch` globs over canonical names) to weights, of which the first that matches counts.
        density: p, share of entries kept, in (0, 1].
        gap_steps: K >= 1, merge at every K-th step.
        seed: seeds masks and tie-breaking; every method takes it.
        alpha_schedule: `constant` (default) or `follow_lr` (alpha times the learning rate over the initial one).
        rescale: `none`, `inverse` (1/p) or `norm` (sum of magnitudes before / after).
        elect: `weighted` or `unweighted` (OnTIES).
        tau_mask: `resample` at each merge or `fixed`.
        clip: bound of |tau| after rescaling, > 0; `inf` means no clamp (OnDARE).
        min_kept: least number of entries kept (OnTIES); 0 is the released rule, see `docs/deviations.md`.
        spread: how much keep probabilities rise with magnitude (DELLA), as a share in [0, 1] of the widest difference
            between the largest and the smallest entry's, 2 min(p, 1 - p); default 1.
        average_rate: share of the new weights in the moving average, in (0, 1] (`ema`, default 0.01).

    Raises:
        ValueError: a value out of range, or a knob the method does not take.
    """

    method: str
    _: KW_ONLY
    semantics: str | None = None
    alpha: float | Mapping[str, float] | tuple[tuple[str, float], ...] = 0.0
    density: float = 1.0
    gap_steps: int = 1
    seed: int = 0
    alpha_schedule: str | None = None
    rescale: str | None = None
    elect: str | None = None
    tau_mask: str | None = None
    clip: float | None = None
    min_kept: int | None = None
    spread: float | None = None
    average_rate: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.alpha, Mapping):
            object.__setattr__(self, "alpha", tuple(self.alpha.items()))
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        _check_ranges(given)
        _check_knobs(given)

    def resolved(self) -> ResolvedMerge:
        """Every axis at its effective value: what was given, else what the semantics says, else None."""
        method = METHODS[self.method]
        semantics = self.semantics or method.default_semantics
        says = method.open_knobs(semantics)
        axes: dict[str, Any] = {}
        for axis in ("rescale", "elect", "tau_mask", "clip", "min_kept", "spread", "average_rate"):
            given = getattr(self, axis)
            axes[axis] = says.get(axis) if given is None else given
        if axes["clip"] is not None and math.isinf(axes["clip"]):
            axes["clip"] = None
        by_name = self.alpha if isinstance(self.alpha, tuple) else None
        return ResolvedMerge(
            method=self.method,
            semantics=semantics,
            alpha=max(w for _, w in by_name) if by_name else float(self.alpha),  # type: ignore[arg-type]
            alpha_by_name=by_name,
            density=float(self.density),
            gap_steps=self.gap_steps,
            seed=self.seed,
            alpha_schedule=self.alpha_schedule or "constant",
            **axes,
        )


def state_bytes(merge: ResolvedMerge, dtype: str) -> dict[str, int]:
    """Bytes of optimizer state per parameter by what they hold, with precision `auto`; nothing that is not held.

    Diagnostics watch a bounded number of entries and are not counted, nor are the task vector and the reference, which
    are given to the optimizer and not its state.

    Args:
        merge: resolved settings.
        dtype: of the parameters: `float32`, `bfloat16` or `float16`.
    """
    held = {
        "moments": 2 * FLOAT32_BYTES,
        "master bits": MASTER_BYTES[dtype],
        "gap sum": FLOAT32_BYTES if merge.gap_steps > 1 else 0,
        "moving average": FLOAT32_BYTES if METHODS[merge.method].pull == "average" else 0,
    }
    return {name: count for name, count in held.items() if count}


_CHOICES = {
    "semantics": SEMANTICS_NAMES,
    "alpha_schedule": ALPHA_SCHEDULES,
    "rescale": RESCALES,
    "elect": ELECTIONS,
    "tau_mask": TAU_MASKS,
}


def _check_ranges(given: dict[str, Any]) -> None:
    for name, allowed in _CHOICES.items():
        if given[name] is not None and given[name] not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {given[name]!r}")
    for weight in _alphas(given["alpha"]):
        _check_number("alpha", weight, lambda value: 0.0 <= value <= 1.0, "in [0, 1]")
    _check_number("density", given["density"], lambda value: 0.0 < value <= 1.0, "in (0, 1]")
    _check_whole("gap_steps", given["gap_steps"], 1)
    _check_whole("seed", given["seed"], 0)
    if given["clip"] is not None:
        _check_number("clip", given["clip"], lambda value: value > 0.0, "> 0")
    if given["min_kept"] is not None:
        _check_whole("min_kept", given["min_kept"], 0)
    if given["spread"] is not None:
        _check_number("spread", given["spread"], lambda value: 0.0 <= value <= 1.0, "in [0, 1]")
    if given["average_rate"] is not None:
        _check_number("average_rate", given["average_rate"], lambda value: 0.0 < value <= 1.0, "in (0, 1]")


def _alphas(alpha: object) -> tuple[object, ...]:
    """Every merging weight in `alpha`."""
    if not isinstance(alpha, tuple):
        return (alpha,)
    if not alpha or not all(isinstance(e, tuple) and len(e) == 2 and isinstance(e[0], str) for e in alpha):
        raise ValueError(f"alpha must be a number or a mapping of name patterns to numbers, got {alpha!r}")
    return tuple(weight for _, weight in alpha)


def _check_number(name: str, value: object, allowed: Callable[[Any], bool], wording: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not allowed(value):
        raise ValueError(f"{name} must be {wording}, got {value!r}")


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def _check_knobs(given: dict[str, Any]) -> None:
    method, takes = given["method"], METHODS[given["method"]].knobs
    knobs = [field for field in fields(OnlineMerge) if field.name not in ("method", "seed")]
    refused = [knob.name for knob in knobs if knob.name not in takes and given[knob.name] != knob.default]
    if refused:
        allowed = ", ".join(takes) if takes else "no knobs"
        raise ValueError(f"method {method} does not take {', '.join(refused)}; it takes {allowed}")
    if METHODS[method].needs_semantics and given["semantics"] is None:
        raise ValueError(f"method {method} needs semantics: one of {', '.join(SEMANTICS_NAMES)}, got None")
