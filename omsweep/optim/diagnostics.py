"""What merging did to the weights, measured on a hash-chosen sample of entries with sums in float64.

Up to `SAMPLE_ENTRIES` entries per tensor are watched, each standing for n / sampled entries, so sums estimate those
over the whole model. Nothing is brought to the host before somebody asks.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from omsweep.merging.method import Merged
from omsweep.merging.randomness import sample_index
from omsweep.optim.merger import Merger

SAMPLE_ENTRIES = 1024

# Saved in the state dict: per parameter the sampled start weights and the sampled sum of merged-in parts, per group the
# totals below. Rebuilt: sample indices and the rows of the step under way.
STATE_KEYS = ("start_sample", "merged_sample")
TOTALS = ("merges", "travel", "ratio", "retained", "survived", "intended")
NO_TOTALS = (0.0,) * len(TOTALS)


class Watched(NamedTuple):
    """The entries of one tensor that are watched; `entries` None means all of them."""

    entries: Tensor | None
    weight: float

    def take(self, x: Tensor) -> Tensor:
        """The watched entries of `x`, flat, float32, never sharing memory with a parameter."""
        flat = x.reshape(-1)
        taken = flat.clone() if self.entries is None else flat.index_select(0, self.entries)
        return taken.float()


class Moved(NamedTuple):
    """How a merge found a parameter.

    Attributes:
        before: watched entries of the decayed weights the movement was added to, float32.
        update: delta_t.
        gap_update: Delta, None for K = 1.
    """

    before: Tensor
    update: Tensor
    gap_update: Tensor | None


class Ledger:
    """Running sums over merges.

    Args:
        merger: for tau and for what takes part.
    """

    def __init__(self, merger: Merger) -> None:
        self._merger = merger
        self._watched: dict[str, Watched] = {}
        self._rows: list[Tensor] = []
        self._totals = torch.tensor(NO_TOTALS, dtype=torch.float64)
        self._tau_facts: tuple[float, float] | None = None

    @torch.no_grad()
    def open_state(self, name: str, parameter: Tensor, state: dict[str, Any]) -> None:
        """Remember where the watched entries of a parameter start."""
        start = self.watched(name, parameter).take(parameter)
        state["start_sample"] = start
        state["merged_sample"] = torch.zeros_like(start)

    def watched(self, name: str, like: Tensor) -> Watched:
        """The watched entries of parameter `name`."""
        if name not in self._watched:
            count = like.numel()
            index = None if count <= SAMPLE_ENTRIES else sample_index(count, SAMPLE_ENTRIES, name).to(like.device)
            self._watched[name] = Watched(index, 1.0 if index is None else count / SAMPLE_ENTRIES)
        return self._watched[name]

    def record_merge(
        self, name: str, parameter: Tensor, state: dict[str, Any], *, moved: Moved, merged: Merged, alpha: float
    ) -> None:
        """Note one parameter's merge, after its weights moved; `alpha` is alpha_t."""
        take = self.watched(name, parameter).take
        last = take(moved.update)
        whole = last if moved.gap_update is None else take(moved.gap_update)
        sparse = last if merged.update_sparse is moved.update else take(merged.update_sparse)
        kept = sparse if merged.update_kept is merged.update_sparse else take(merged.update_kept)
        plain = kept if moved.gap_update is None else last + (kept - whole)
        part, without, tau_term = plain, moved.before, torch.zeros_like(plain)
        if merged.tau_kept is not None and merged.tau_sparse is not None:
            part, without = take(merged.tau_kept), moved.before + plain
            tau_term = alpha * take(merged.tau_sparse)
            state["merged_sample"].add_(part)
        self._add_row(name, parameter, part, without, whole, sparse, (1.0 - alpha) * sparse, tau_term)

    def record_pull(
        self,
        name: str,
        parameter: Tensor,
        state: dict[str, Any],
        *,
        plain: Tensor,
        pulled: Tensor,
        update: Tensor,
        alpha: float,
    ) -> None:
        """Note one parameter's pull from `plain` (weights + update) to `pulled`, both float32 watched entries.

        The pull stands where the task vector stands in a merge, in `merge_ratio` too.
        """
        part, whole = pulled - plain, self.watched(name, parameter).take(update)
        state["merged_sample"].add_(part)
        self._add_row(name, parameter, part, plain, whole, whole, (1.0 - alpha) * whole, part)

    def _add_row(self, name: str, parameter: Tensor, part: Tensor, without: Tensor, *terms: Tensor) -> None:
        """`part`: what was merged in; `without`: the weights had it not been; `terms`: Delta, S(Delta), both terms."""
        watched = self.watched(name, parameter)
        applied = watched.take(parameter) - without.to(parameter.dtype).float()
        tau = torch.zeros_like(part)
        if self._merger.has_task_vector and self._merger.settings.needs_task_vector:
            tau = watched.take(self._merger.tau(name, parameter.device))
        weight = torch.full_like(part, watched.weight)
        self._rows.append(torch.stack([weight, tau, part, applied, *terms]))

    def close_step(self) -> None:
        """Fold the rows of one step's merges into the totals."""
        if not self._rows:
            return
        device = self._rows[0].device
        weight, tau, part, applied, whole, sparse, update_term, tau_term = torch.cat(
            [row.to(device) for row in self._rows], dim=1
        ).double()
        self._rows = []
        ratio = (weight * tau_term**2).sum().sqrt(), (weight * update_term**2).sum().sqrt()
        retained = (weight * sparse.abs()).sum(), (weight * whole.abs()).sum()
        step = torch.stack(
            [
                torch.ones((), dtype=torch.float64, device=device),
                (weight * part * tau).sum(),
                torch.where(ratio[0] > 0, ratio[0] / ratio[1], 0.0),
                torch.where(retained[1] > 0, retained[0] / retained[1], 1.0),
                (weight * applied * part).sum(),
                (weight * part**2).sum(),
            ]
        )
        self._totals = self._totals.to(device) + step

    def totals(self) -> tuple[float, ...]:
        """The totals as plain numbers, for the state dict."""
        return tuple(self._totals.tolist())

    def restore(self, totals: tuple[float, ...]) -> None:
        """Go on from totals that were saved."""
        self._totals = torch.tensor(tuple(totals), dtype=torch.float64)
        self._rows = []

    @torch.no_grad()
    def report(self, parameters: Mapping[str, Tensor], states: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """The diagnostics of `docs/notation.md`; NaN where nothing was measured.

        Args:
            parameters: by canonical name.
            states: their states; a parameter that never had a gradient has an empty one.
        """
        totals = dict(zip(TOTALS, self.totals(), strict=True))
        moved, merged_in = self._norms(parameters, states)
        tau_square, zero_share = self._tau(parameters)
        merges = totals["merges"]
        survival = totals["survived"] / totals["intended"] if totals["intended"] > 0 else math.nan
        walked = merged_in * max(0.0, survival) if merged_in > 0 else 0.0
        return {
            "tau_travel": totals["travel"] / tau_square if totals["travel"] != 0 else 0.0,
            "merge_ratio": totals["ratio"] / merges if merges else math.nan,
            "retained_share": totals["retained"] / merges if merges else math.nan,
            "displacement": moved,
            "tau_zero_share": zero_share,
            "lost_update_share": 1.0 - survival,
            "merged_share": walked / moved if moved > 0 else 0.0,
        }

    def _norms(self, parameters: Mapping[str, Tensor], states: Mapping[str, Mapping[str, Any]]) -> tuple[float, float]:
        """|theta - theta_r| and |sum of merged-in parts|."""
        moved = merged_in = 0.0
        for name, state in states.items():
            if "start_sample" not in state:
                continue
            watched = self.watched(name, parameters[name])
            distance = watched.take(parameters[name]).double() - state["start_sample"].double()
            moved += watched.weight * float(distance.square().sum())
            merged_in += watched.weight * float(state["merged_sample"].double().square().sum())
        return math.sqrt(moved), math.sqrt(merged_in)

    def _tau(self, parameters: Mapping[str, Tensor]) -> tuple[float, float]:
        """<tau, tau> over the watched entries and the share of zeros over all; computed once."""
        if not self._merger.has_task_vector:
            return math.nan, math.nan
        if self._tau_facts is None:
            square, zeros, entries = 0.0, 0, 0
            for name, parameter in parameters.items():
                if not parameter.requires_grad:
                    continue
                tau = self._merger.tau(name, parameter.device)
                watched = self.watched(name, parameter)
                square += watched.weight * float(watched.take(tau).double().square().sum())
                zeros += int((tau == 0).sum())
                entries += tau.numel()
            self._tau_facts = (square, zeros / entries if entries else math.nan)
        return self._tau_facts
