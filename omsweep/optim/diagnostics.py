"""What merging did to the weights, measured on a hash-chosen sample of entries with sums in float64.

Up to `SAMPLE_ENTRIES` entries per tensor are watched (fewer in models of many tensors), each standing for n / sampled
entries, so sums estimate those over the whole model. Nothing is brought to the host, and nothing is exchanged between
ranks, before somebody asks: `Ledger.report` and `Ledger.save` are collective where parameters are sharded.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from omsweep.merging.merged import Merged
from omsweep.merging.randomness import sample_index
from omsweep.optim.inductor import vectors_kernel
from omsweep.optim.merger import Merger
from omsweep.optim.sharding import Groups, Piece, summed
from omsweep.optim.watched import SUMS, Rooms, Watched, rooms_of, sums_of, sums_of_merge

SAMPLE_ENTRIES = 1024
LEAST_ENTRIES = 32
MOST_ENTRIES = 2**15
SMALL_MODEL, ONE_IN, FEWEST_ENTRIES = 4_000_000, 8192, 2**12
"""Over all tensors `MOST_ENTRIES` are watched in a small model; in others one entry in `ONE_IN`, and no fewer than the
last number: watching costs a share of a step."""
FOLD_STEPS = 64
"""Sums of so many steps are added to the totals together; where parameters are sharded, of all steps until asked."""

# Saved in the state dict: per parameter the sampled start weights and the sampled sum of merged-in parts, per group the
# totals below. Rebuilt: sample indices and the rows not folded yet.
STATE_KEYS = ("start_sample", "merged_sample")
TOTALS = ("merges", "travel", "ratio", "retained", "survived", "intended")
NO_TOTALS = (0.0,) * len(TOTALS)


class Moved(NamedTuple):
    """How a merge found a parameter.

    Attributes:
        before: watched entries of the decayed weights the movement was added to, float32.
        after: watched entries of the weights it left, as they are held.
        update: delta_t.
        gap_update: Delta, None for K = 1.
        rounded_to: the dtype that weights are rounded to, float64 where rounding is right in expectation.
    """

    before: Tensor
    after: Tensor
    update: Tensor
    gap_update: Tensor | None
    rounded_to: torch.dtype


class Ledger:
    """Running sums over merges.

    Args:
        merger: for tau and for what takes part.
        sizes: entries of each parameter that is trained, which decide how many of each are watched.
    """

    def __init__(self, merger: Merger, sizes: Sequence[int]) -> None:
        self._merger = merger
        entries, tensors = sum(sizes), len(sizes)
        over_all = MOST_ENTRIES if entries < SMALL_MODEL else max(entries // ONE_IN, FEWEST_ENTRIES)
        over_all = min(over_all, MOST_ENTRIES)
        self._size = max(LEAST_ENTRIES, min(SAMPLE_ENTRIES, over_all // max(1, tensors)))
        self._watched: dict[str, Watched] = {}
        self._tau_samples: dict[str, Tensor] = {}
        self._device = torch.device("cpu")
        self._rooms: Rooms | None = None
        self._seen: dict[Groups, Tensor] = {}
        self._order: dict[Groups, None] = {}  # alike on every rank, so that they exchange in one order
        self._rows: dict[Groups, list[Tensor]] = {}
        self._sums: list[dict[Groups, Tensor]] = []
        self._totals = torch.tensor(NO_TOTALS, dtype=torch.float64)
        self._tau_facts: tuple[float, float] | None = None

    @torch.no_grad()
    def open_state(self, name: str, parameter: Tensor, piece: Piece, state: dict[str, Any]) -> None:
        """Remember where the watched entries of a parameter start; collective where it is sharded."""
        watched = self.watch(name, parameter, piece)
        state["start_sample"] = summed(piece.groups)(watched.spread(watched.take(parameter)))
        state["merged_sample"] = torch.zeros_like(state["start_sample"])

    def watch(self, name: str, parameter: Tensor, piece: Piece) -> Watched:
        """The watched entries of parameter `name`, given by its local tensor."""
        known = self._watched.get(name)
        if known is None or known.groups != piece.groups:  # another piece since somebody looked: it was sharded
            self._tau_samples.pop(name, None)
            self._rooms = None
            self._order.setdefault(piece.groups)
            total, device = piece.block.total, parameter.device
            index = sample_index(total, self._size, name)
            weight = total / max(1, index.numel())
            if piece.groups:
                here, entries = piece.block.positions_of(index, parameter.numel())
                slots = here.nonzero().squeeze(1)
                found = Watched(entries.to(device), slots.to(device), index.numel(), weight, piece.groups)
            else:
                found = Watched(index.to(device) if weight > 1.0 else None, None, index.numel(), weight, ())
            self._watched[name], self._device = found, device
        return self._watched[name]

    def watched(self, name: str) -> Watched:
        """The watched entries of a parameter that `watch` has seen."""
        return self._watched[name]

    def record_merge(
        self, name: str, state: dict[str, Any], *, moved: Moved, merged: Merged, alpha: float, deferred: bool
    ) -> None:
        """Note one parameter's merge, after its weights moved; `alpha` is alpha_t.

        `deferred`: the task vector's part comes later, see `record_flush`.
        """
        take = self.watched(name).take
        last = take(moved.update)
        whole = last if moved.gap_update is None else take(moved.gap_update)
        sparse = last if merged.update_sparse is moved.update else take(merged.update_sparse)
        kept = sparse if merged.update_kept is merged.update_sparse else take(merged.update_kept)
        plain = kept if moved.gap_update is None else last + (kept - whole)
        part, without, tau_term = plain, moved.before, torch.zeros_like(plain)
        if merged.tau_kept is not None and merged.tau_sparse is not None:
            tau_term = alpha * take(merged.tau_sparse)
            if deferred:
                part = torch.zeros_like(plain)
            else:
                part, without = take(merged.tau_kept), moved.before.double() + plain.double()
                self.add_merged(name, state, part)
        applied = _applied(moved.after, without, moved.rounded_to)
        self._add_row(name, part, applied, whole, sparse, (1.0 - alpha) * sparse, tau_term)

    def record_pull(
        self, name: str, state: dict[str, Any], *, plain: Tensor, moved: Moved, pull: Tensor, alpha: float
    ) -> None:
        """Note one parameter's pull by `pull` from `plain` (weights + update), both float32 watched entries.

        The pull stands where the task vector stands in a merge, in `merge_ratio` too.
        """
        whole = self.watched(name).take(moved.update)
        self.add_merged(name, state, pull)
        applied = _applied(moved.after, plain.double(), moved.rounded_to)
        self._add_row(name, pull, applied, whole, whole, (1.0 - alpha) * whole, pull)

    def record_flush(
        self, name: str, state: dict[str, Any], *, part: Tensor, before: Tensor, after: Tensor, rounded_to: torch.dtype
    ) -> None:
        """Note a task vector part that was collected over some merges and is added now; float32 watched entries."""
        self.add_merged(name, state, part)
        nothing = torch.zeros_like(part)
        applied = _applied(after, before.double(), rounded_to)
        self._add_row(name, part, applied, nothing, nothing, nothing, nothing, merge=0.0)

    def make_room(self, names: Sequence[str]) -> bool:
        """Room for what kernels see of these parameters at a merge; whether it is a new one."""
        if self._rooms is not None and self._rooms.names == names:
            return False
        watched = {name: self.watched(name) for name in names}
        blanks = {name: torch.zeros(w.here(), dtype=torch.float32, device=self._device) for name, w in watched.items()}
        taus = {name: self._tau_sample(name, blank) for name, blank in blanks.items()}
        self._rooms = Rooms(names, rooms_of(watched, taus))
        return True

    def places(self, name: str, state: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Positions of a parameter's watched entries, where a kernel adds what it merged in there, and what it saw."""
        watched = self.watched(name)
        if watched.entries is None:
            watched = self._watched[name] = watched._replace(entries=torch.arange(watched.size, device=self._device))
        assert watched.entries is not None, "just set"
        assert self._rooms is not None, "made before"
        seen = self._rooms.of[watched.groups].parts[name]
        if watched.slots is None:
            return watched.entries, state["merged_sample"], seen
        return watched.entries, torch.zeros(watched.entries.numel(), device=watched.entries.device), seen

    def add_merged(self, name: str, state: dict[str, Any], part: Tensor) -> None:
        """Add what was merged in at the watched entries that lie here."""
        watched = self.watched(name)
        if watched.slots is None:
            state["merged_sample"].add_(part)
        else:
            state["merged_sample"].index_add_(0, watched.slots, part)

    def record_seen(self) -> None:
        """Note a merge of all parameters that there is room for, as kernels saw it."""
        self._seen |= self.sums_seen()

    def sums_seen(self) -> dict[Groups, Tensor]:
        """The sums over what kernels saw; the first call compiles."""
        assert self._rooms is not None, "made before"
        return {
            groups: vectors_kernel(sums_of_merge, room.seen, room.weight, room.tau)
            for groups, room in self._rooms.of.items()
        }

    def close_step(self) -> None:
        """Add up the rows of one step's merges."""
        if not self._rows and not self._seen:
            return
        sums, self._seen = self._seen, {}
        for groups, rows in self._rows.items():
            found = _sums_of(rows)
            sums[groups] = sums[groups] + found if groups in sums else found
        self._rows = {}
        self._sums.append(sums)
        if len(self._sums) >= FOLD_STEPS and not any(self._order):
            self._fold()

    def restore(self, totals: tuple[float, ...]) -> None:
        """Go on from totals that were saved."""
        self._totals = torch.tensor(tuple(totals), dtype=torch.float64)
        self._rows, self._seen, self._sums = {}, {}, []

    @torch.no_grad()
    def save(self, groups: Sequence[dict[str, Any]], states: Mapping[str, dict[str, Any]]) -> None:
        """Write the totals into the groups and make the samples of sharded parameters whole; collective there."""
        totals = self._folded()
        for group in groups:
            group["merge_totals"] = totals
        for name, state in states.items():
            watched = self._watched.get(name)
            if watched is not None and watched.groups and "merged_sample" in state:
                own = watched.spread(watched.own(state["merged_sample"]))
                state["merged_sample"] = summed(watched.groups)(own)

    @torch.no_grad()
    def report(
        self, parameters: Mapping[str, Tensor], pieces: Mapping[str, Piece], states: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, float]:
        """The diagnostics of `docs/notation.md`; NaN where nothing was measured. Collective where sharded.

        Args:
            parameters: local float32 weights as held, by canonical name.
            pieces: by canonical name.
            states: local states; a parameter that never had a gradient has an empty one.
        """
        for name, parameter in parameters.items():
            self.watch(name, parameter, pieces[name])
        totals = dict(zip(TOTALS, self._folded(), strict=True))
        moved, merged_in = self._norms(parameters, states)
        tau_square, zero_share = self._tau(parameters, pieces)
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

    def _add_row(self, name: str, part: Tensor, applied: Tensor, *terms: Tensor, merge: float = 1.0) -> None:
        """`part`: what was merged in; `terms`: Delta, S(Delta), both terms; `merge`: whether this counts as a merge."""
        watched = self.watched(name)
        row = [torch.full_like(part, watched.weight), self._tau_sample(name, part), part, applied, *terms]
        self._rows.setdefault(watched.groups, []).append(torch.stack([*row, torch.full_like(part, merge)]))

    def _tau_sample(self, name: str, like: Tensor) -> Tensor:
        """The watched entries of tau, 0 where it takes no part; read once, because the merger may let tau go."""
        return self._tau_samples[name] if self._merger.merged_in else torch.zeros_like(like)

    @torch.no_grad()
    def note_tau(self, name: str, parameter: Tensor, piece: Piece) -> None:
        """Remember the watched entries of the task vector of a parameter, given by its local tensor."""
        if self._merger.has_task_vector and name not in self._tau_samples:
            take = self.watch(name, parameter, piece).take
            self._tau_samples[name] = take(self._merger.tau(name, piece, parameter.device))

    def _folded(self) -> tuple[float, ...]:
        """The totals of all steps as plain numbers."""
        self._fold()
        return tuple(self._totals.tolist())

    def _fold(self) -> None:
        """Exchange the sums of steps since the last time and add them to the totals."""
        if not self._sums:
            return
        columns = torch.zeros(len(self._sums), len(SUMS), dtype=torch.float64)
        device = next(iter(self._sums[-1].values())).device
        empty = torch.zeros(len(SUMS), dtype=torch.float64, device=device)
        for groups in self._order:
            found = [step[groups] for step in self._sums if groups in step]
            if groups or found:
                own_device = found[0].device if found else device
                rows = [step.get(groups, empty).to(own_device) for step in self._sums]
                columns = columns.to(device) + summed(groups)(torch.stack(rows)).to(device)
        self._sums = []
        sums = dict(zip(SUMS, columns.unbind(1), strict=True))
        merges = (sums["merge"] > 0).double()
        ratio = torch.where(sums["tau_square"] > 0, (sums["tau_square"] / sums["update_square"]).sqrt(), 0.0)
        retained = torch.where(sums["whole"] > 0, sums["retained"] / sums["whole"], 1.0)
        each = {"merges": merges, "travel": sums["travel"], "ratio": merges * ratio, "retained": merges * retained}
        each |= {"survived": sums["survived"], "intended": sums["intended"]}
        self._totals = self._totals.to(device)
        for step in torch.stack([each[name] for name in TOTALS], dim=1):  # one by one, whenever it is done
            self._totals = self._totals + step

    def _norms(self, parameters: Mapping[str, Tensor], states: Mapping[str, Mapping[str, Any]]) -> tuple[float, float]:
        """|theta_T - theta_r| and |sum of merged-in parts|."""
        squares = []
        for name, state in states.items():
            if "start_sample" not in state:
                continue
            watched = self.watched(name)
            distance = watched.take(parameters[name]).double() - watched.own(state["start_sample"]).double()
            merged = watched.own(state["merged_sample"]).double()
            found = watched.weight * torch.stack([distance.square().sum(), merged.square().sum()])
            squares.append((watched.groups, found))
        moved, merged_in = _over_ranks(squares) or (0.0, 0.0)
        return math.sqrt(moved), math.sqrt(merged_in)

    def _tau(self, parameters: Mapping[str, Tensor], pieces: Mapping[str, Piece]) -> tuple[float, float]:
        """<tau, tau> over the watched entries and the share of zeros among them; computed once."""
        if not self._merger.has_task_vector:
            return math.nan, math.nan
        if self._tau_facts is None:
            sums = []
            for name, parameter in parameters.items():
                self.note_tau(name, parameter, pieces[name])
                watched, tau = self.watched(name), self._tau_samples[name].double()
                found = torch.stack([tau.square().sum(), (tau == 0).double().sum(), torch.ones_like(tau).sum()])
                sums.append((watched.groups, watched.weight * found))
            square, zeros, entries = _over_ranks(sums)
            self._tau_facts = (square, zeros / entries if entries else math.nan)
        return self._tau_facts


def _applied(after: Tensor, without: Tensor, rounded_to: torch.dtype) -> Tensor:
    """What of a part arrived: the weights after it minus what they would be without it, rounded as weights are.

    Where rounding is right in expectation, `rounded_to` is float64 and the weights without the part are left exact.
    """
    return (after.double() - without.to(rounded_to).double()).float()


def _over_ranks(found: Sequence[tuple[Groups, Tensor]]) -> list[float]:
    """Sums of vectors of one length over parameters and over the ranks that each is spread over; [] of nothing."""
    sums: dict[Groups, Tensor] = {}
    for groups, values in found:
        sums[groups] = sums[groups] + values if groups in sums else values
    return [sum(column) for column in zip(*[summed(g)(values).tolist() for g, values in sums.items()], strict=True)]


def _sums_of(rows: list[Tensor]) -> Tensor:
    """`SUMS` over rows of one step."""
    device = rows[0].device
    weight, tau, *seen, merge = torch.cat([row.to(device) for row in rows], dim=1)
    return sums_of(weight, tau, merge, seen)
