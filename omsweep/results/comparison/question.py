"""What a sweep is asked (does merging do it, is online better than offline?): its arms, controls, and what is missing.

Read from the resolved search space, before anything is trained or after. Imports nothing heavy.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omsweep.merging.methods import BASELINE_METHOD, METHODS, MergeMethod, method_names
from omsweep.results.comparison.points import Arm, Pair, headline_pairs

ALPHA_ZERO = "alpha 0"
UNLIKE = ("method", "task_vector", "alpha", "tau_travel", "alpha_schedule", "match")
"""Knobs in which a branch may differ from the online branch that it is a control of."""
FORMER_MATCH = {"displacement": "share"}
"""Words of `match` in the spaces of older sweeps."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """A branch that merges as an online one does, but for tau or for the matching of its learning rate.

    Args:
        online: the online branch's label.
        label: the control's (`label_of`).
        what: `permuted`, `rotated`, `flipped`, `other_seed`, `alpha 0`, `match none` or `match share`.
    """

    online: str
    label: str
    what: str


@dataclass(frozen=True, kw_only=True)
class OfflineGrid:
    """Merges that every run of some arms gets after training.

    Args:
        arms: the arms' labels (`label_of`).
        points: number of merges of a run.
        travel_of: label of the branch whose run in the same block, where it left a policy, gives one more.
    """

    arms: frozenset[str]
    points: int
    travel_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """The headline that a sweep with `objectives.tax_limit` is to answer.

    Args:
        tax_limit: t of "reward at tax <= t", points; one for all families, or by family.
        baseline: label of the AdamW branch, None without one.
        online: labels of the branches that merge the real task vector.
        controls: of those.
        grids: what runs are merged after training, and how often.
        sft_seeds: per family.
        runs: per SFT seed, blocks x training seeds.
        both_splits: whether every policy is scored on the report split too.
        missing: what cannot be shown, and why, one sentence each.
    """

    tax_limit: float | Mapping[str, float]
    baseline: str | None
    online: tuple[str, ...]
    controls: tuple[Control, ...]
    grids: tuple[OfflineGrid, ...]
    sft_seeds: int
    runs: int
    both_splits: bool
    missing: tuple[str, ...]

    @property
    def merged(self) -> frozenset[str]:
        """Labels whose runs are merged after training too."""
        return _covered(self.grids)

    def limit_of(self, family: str) -> float:
        """A family's t, points."""
        return float(self.tax_limit[family] if isinstance(self.tax_limit, Mapping) else self.tax_limit)

    def limit_text(self, families: Sequence[str]) -> str:
        """The families' t: `3`, or `10 (tiny-llama), 3 (tiny-qwen2)`."""
        limits = {family: f"{self.limit_of(family):g}" for family in families}
        same = len(set(limits.values())) == 1
        return next(iter(limits.values())) if same else ", ".join(f"{t} ({family})" for family, t in limits.items())

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of all arms: the baseline's, the online branches', the controls'."""
        first = () if self.baseline is None else (self.baseline,)
        return tuple(dict.fromkeys((*first, *self.online, *(c.label for c in self.controls))))

    def pairs(self, merged: Collection[str]) -> list[Pair]:
        """All pairs of a report, those of the headline first."""
        return [*self.headline(merged), *self.control_pairs(merged)]

    def headline(self, merged: Collection[str]) -> list[Pair]:
        """The pairs of the headline's table; (b) and (d) only where there are merges.

        Args:
            merged: labels with merges.
        """
        pairs: list[Pair] = []
        for online in self.online if self.baseline is not None else ():
            run, best, grid = headline_pairs(online, str(self.baseline))
            pairs.append(run)
            pairs += [best] if self.baseline in merged else []
            pairs += [grid] if {self.baseline, online} <= set(merged) else []
        return pairs

    def control_pairs(self, merged: Collection[str]) -> list[Pair]:
        """Every online branch against each of its controls: grid by grid where both have merges, else run by run."""
        both = [(c, {c.online, c.label} <= set(merged)) for c in self.controls]
        return [(Arm(c.online, merged=grid), Arm(c.label, merged=grid)) for c, grid in both]


@dataclass(frozen=True)
class _Row:
    label: str
    method: str
    knobs: Mapping[str, Any]
    task_vectors: tuple[str, ...]
    other_match: str | None

    @property
    def arms(self) -> Iterator[tuple[str, str]]:
        """(arm label, task vector) of each task vector that the branch can draw."""
        return ((self.label if kind == "real" else f"{self.label}/{kind}", kind) for kind in self.task_vectors)

    @property
    def merges(self) -> bool:
        """Whether it moves along the real task vector, its learning rate matched or not as the design says."""
        real = _known(self.method).merges_tau and "real" in self.task_vectors and not self.without_tau
        return real and self.other_match is None

    @property
    def without_tau(self) -> bool:
        return self.knobs.get("alpha") == 0 or _known(self.method).masks_alone


def question_of(resolved: Mapping[str, Any]) -> Question | None:
    """What a resolved search space asks; None unless it is a compare sweep with `objectives.tax_limit`."""
    limit = (resolved.get("objectives") or {}).get("tax_limit")
    if limit is None or resolved.get("mode") != "compare":
        return None
    design = resolved.get("design") or {}
    match = _match(design.get("match", "share"))
    rows = _rows(resolved["space"], match)
    baseline, online = _baseline(rows), tuple(row.label for row in rows if row.merges)
    grids = tuple(_grids(resolved.get("posthoc") or {}, rows))
    merged = _covered(grids)
    sft_seeds = int(design.get("sft_seeds", 1))
    runs = int(design.get("blocks", 1)) * int(design.get("seeds", 1))
    both_splits = (resolved.get("evaluate") or {}).get("report_split") == "all"
    missing = [
        *(["arms: design.cross turns branches into levels of knobs"] if design.get("cross") else []),
        *([] if both_splits else ["everything: policies must be scored on both splits (evaluate.report_split: all)"]),
        *_missing_arms(rows, baseline, online, merged),
        *_missing_repeats(sft_seeds, runs, match),
    ]
    return Question(
        tax_limit=dict(limit) if isinstance(limit, Mapping) else float(limit),
        baseline=baseline,
        online=online,
        controls=tuple(_controls(rows)),
        grids=grids,
        sft_seeds=sft_seeds,
        runs=runs,
        both_splits=both_splits,
        missing=tuple(missing),
    )


def _rows(space: Mapping[str, Any], match: str) -> list[_Row]:
    method = space.get("method")
    entries = {method: {}} if isinstance(method, str) else dict(method or {})
    shared = space.get("task_vector", "real")
    return [_row(str(label), dict(knobs or {}), shared, match) for label, knobs in entries.items()]


def _row(label: str, knobs: dict[str, Any], shared: Any, match: str) -> _Row:
    method = str(knobs.get("method", label))
    drawn = knobs.get("task_vector", shared) if _known(method).merges_tau else "real"
    kinds = drawn["choice"] if isinstance(drawn, Mapping) else [drawn]
    own = _match(knobs.get("match") or match)
    return _Row(label, method, knobs, tuple(str(kind) for kind in kinds), own if own != match else None)


def _match(given: Any) -> str:
    return FORMER_MATCH.get(str(given), str(given))


def _known(method: str) -> MergeMethod:
    """The method's row; one that this version does not have counts as merging nothing."""
    return METHODS.get(method, METHODS[BASELINE_METHOD])


def _baseline(rows: Sequence[_Row]) -> str | None:
    """The branch labelled adamw, else the only one of this method."""
    labels = [row.label for row in rows if row.method == BASELINE_METHOD and row.other_match is None]
    return BASELINE_METHOD if BASELINE_METHOD in labels else labels[0] if len(labels) == 1 else None


def _covered(grids: Sequence[OfflineGrid]) -> frozenset[str]:
    return frozenset(arm for grid in grids for arm in grid.arms)


def _grids(posthoc: Mapping[str, Any], rows: Sequence[_Row]) -> Iterator[OfflineGrid]:
    """The entries of `posthoc`, their branches' labels made arm labels."""
    for entry in posthoc.values():
        given = entry or {}
        lists = (given.get("weights") or (), given.get("densities") or (None,), given.get("seeds") or (None,))
        covered = [row for row in rows if given.get("of") is None or row.label in given["of"]]
        yield OfflineGrid(
            arms=frozenset(arm for row in covered for arm, _ in row.arms),
            points=math.prod(len(values) for values in lists),
            travel_of=given.get("travel_of"),
        )


def _controls(rows: Sequence[_Row]) -> Iterator[Control]:
    for online in (row for row in rows if row.merges):
        for row in rows:
            if not _is_relative(row, online, rows):
                continue
            if row.without_tau:
                yield Control(online=online.label, label=row.label, what=ALPHA_ZERO)
                continue
            if row.other_match is not None:
                yield Control(online=online.label, label=row.label, what=f"match {row.other_match}")
                continue
            yield from (Control(online=online.label, label=arm, what=kind) for arm, kind in row.arms if kind != "real")


def _is_relative(row: _Row, online: _Row, rows: Sequence[_Row]) -> bool:
    """Whether `row` merges as `online` does but for tau or matching; where none fits exactly, those of its method."""
    if _known(row.method).masks_alone:
        return _known(online.method).sparsifier == _known(row.method).sparsifier
    if row.method != online.method:
        return False
    exact = [other for other in rows if other.merges and other.method == row.method and _alike(row, other)]
    return online in exact or not exact


def _alike(row: _Row, other: _Row) -> bool:
    first, second = ({k: v for k, v in r.knobs.items() if k not in UNLIKE} for r in (row, other))
    return first == second


def _missing_arms(
    rows: Sequence[_Row], baseline: str | None, online: Sequence[str], merged: Collection[str]
) -> Iterator[str]:
    if baseline is None:
        several = [row.label for row in rows if row.method == BASELINE_METHOD]
        why = f"none of {', '.join(several)} is labelled adamw" if several else "space.method has no branch of adamw"
        yield f"arms (a) and (b): {why}"
    elif baseline not in merged:
        yield f"arm (b): posthoc makes no offline merge of {baseline}"
    if not online:
        allowed = ", ".join(method_names(lambda method: method.merges_tau))
        yield f"arms (c) and (d): no branch merges the real task vector (methods {allowed})"
    without = [label for label in online if label not in merged]
    if without:
        yield f"arm (d): posthoc makes no offline merge of {', '.join(without)}"


def _missing_repeats(sft_seeds: int, runs: int, match: str) -> Iterator[str]:
    if sft_seeds * runs < 2:
        yield "verdicts and intervals: one run of each branch in a family, nothing repeated (design.sft_seeds, seeds)"
    elif sft_seeds < 2:
        yield "other SFT models: with one SFT seed (design.sft_seeds) everything holds for that model alone"
    if match == "none":
        yield "matched learning rates: design.match is none, so that they are used as drawn"
