"""What merging did to the weights, measured on a hash-chosen sample of entries with sums in float64.

Up to `SAMPLE_ENTRIES` entries per tensor are watched (fewer in models of many tensors), and apart from them some of
those that tau is merged into, where its mask is known; each stands for some others, see `omsweep.optim.watched`. Where
masks are drawn anew at every merge, sums are taken over what entries are if they are kept, times the chance of that.
Nothing is brought to the host, and nothing is exchanged between ranks, before somebody asks: `Ledger.report` and
`Ledger.save` are collective where parameters are sharded.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from omsweep.merging.merged import Merged
from omsweep.optim.inductor import vectors_kernel
from omsweep.optim.merger import Merger
from omsweep.optim.sharding import Groups, Piece, summed
from omsweep.optim.watched import (
    NO_TOTALS,
    SUMS,
    TOTALS,
    Ends,
    Rooms,
    Sample,
    Watched,
    ends_of,
    rooms_of,
    sample_of,
    sums_of,
    sums_of_merge,
    totals_of,
)

SAMPLE_ENTRIES = 1024
LEAST_ENTRIES = 32
MOST_ENTRIES = 2**15
SMALL_MODEL, ONE_IN, FEWEST_ENTRIES = 4_000_000, 8192, 2**12
"""Over all tensors `MOST_ENTRIES` are watched in a small model; in others one entry in `ONE_IN`, and no fewer than the
last number: watching costs a share of a step."""
LEAST_SEEN = 100
"""Where masks drop most of the updates, watched entries say how far all went once so many of them have moved."""
FOLD_STEPS = 64
"""Sums of so many steps are added to the totals together; where parameters are sharded, of all steps until asked."""
# Saved in the state dict: per parameter the sampled start weights and the sampled sum of merged-in parts, per group the
# totals below. Rebuilt: samples and the rows not folded yet.
STATE_KEYS = ("start_sample", "merged_sample")


class Moved(NamedTuple):
    """How a merge finds the watched entries of a parameter.

    Attributes:
        before: the decayed weights the movement is added to, float32.
        stored: what they are held as once a movement is added, float32, of the movement.
        update: delta_t of all entries.
        gap_update: Delta of all entries, None for K = 1.
        rounded_to: the dtype that weights are rounded to, float64 where rounding is right in expectation.
    """

    before: Tensor
    stored: Callable[[Tensor], Tensor]
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
        self._samples: dict[str, Sample] = {}
        self._watched: dict[str, Watched] = {}
        self._rooms: Rooms | None = None
        self._seen: dict[Groups, Tensor] = {}
        self._order: dict[Groups, None] = {}  # alike on every rank, so that they exchange in one order
        self._rows: dict[Groups, list[Tensor]] = {}
        self._sums: list[dict[Groups, Tensor]] = []
        self._totals = torch.tensor(NO_TOTALS, dtype=torch.float64)

    @torch.no_grad()
    def open_state(self, name: str, parameter: Tensor, piece: Piece, state: dict[str, Any]) -> None:
        """Remember where the watched entries of a parameter start; collective where it is sharded."""
        watched = self.watch(name, parameter, piece)
        state["start_sample"] = summed(piece.groups)(watched.spread(watched.take(parameter)))
        state["merged_sample"] = torch.zeros_like(state["start_sample"])

    @torch.no_grad()
    def watch(self, name: str, parameter: Tensor, piece: Piece) -> Watched:
        """The watched entries of parameter `name`, given by its local tensor; the first call reads all of its tau."""
        known = self._watched.get(name)
        if known is None or known.groups != piece.groups:  # another piece since somebody looked: it was sharded
            self._rooms = None
            self._order.setdefault(piece.groups)
            sample, device = self._sample(name, piece.block.total, parameter.device), parameter.device
            entries, slots = sample.index if sample.index.numel() < piece.block.total else None, None
            if piece.groups:
                here, entries = piece.block.positions_of(sample.index.cpu(), parameter.numel())
                slots = here.nonzero().squeeze(1).to(device)
            entries = entries if entries is None else entries.to(device)
            self._watched[name] = Watched(entries, slots, sample, piece.groups)
        return self._watched[name]

    def watched(self, name: str) -> Watched:
        """The watched entries of a parameter that `watch` has seen."""
        return self._watched[name]

    def record_merge(
        self, name: str, state: dict[str, Any], *, moved: Moved, merged: Merged, alpha: float, deferred: bool
    ) -> None:
        """Note one parameter's merge; `alpha` is alpha_t.

        `deferred`: the task vector's part comes later, see `record_flush`.
        """
        watched = self.watched(name)
        take = watched.take
        last = take(moved.update)
        whole = last if moved.gap_update is None else take(moved.gap_update)
        tau_term = tau_kept = None
        if self._merger.averaged:
            sparse = self._merger.where_kept(whole)
            kept = (1.0 - alpha) * sparse
            if merged.tau_kept is not None:
                tau_term = tau_kept = alpha * watched.own(watched.sample.brought)
        else:
            sparse, kept = take(merged.update_sparse), take(merged.update_kept)
            if merged.tau_kept is not None and merged.tau_sparse is not None:
                tau_term, tau_kept = alpha * take(merged.tau_sparse), take(merged.tau_kept)
        plain = kept if moved.gap_update is None else last + (kept - whole)
        part, base = plain, torch.zeros_like(plain)
        if tau_kept is not None:
            part, base = (torch.zeros_like(plain) if deferred else tau_kept), plain
            self.add_merged(name, state, part)
        without = moved.before.double() + base.double()
        applied = _applied(moved.stored(base + part), without, moved.rounded_to)
        update_term = (1.0 - alpha) * sparse
        terms = [update_term, torch.zeros_like(plain) if tau_term is None else tau_term, (update_term - kept).abs()]
        self._add_row(name, part, applied, whole, sparse, *terms)

    def record_pull(
        self,
        name: str,
        state: dict[str, Any],
        *,
        plain: Tensor,
        after: Tensor,
        update: Tensor,
        pull: Tensor,
        alpha: float,
        rounded_to: torch.dtype,
    ) -> None:
        """Note one parameter's pull by `pull` from `plain` (weights + update) to `after`, as it is held.

        All are float32 and the watched entries; the pull stands where the task vector stands in a merge, in
        `merge_ratio` too.
        """
        self.add_merged(name, state, pull)
        applied = _applied(after, plain.double(), rounded_to)
        self._add_row(name, pull, applied, update, update, (1.0 - alpha) * update, pull, torch.zeros_like(pull))

    def record_flush(
        self, name: str, state: dict[str, Any], *, part: Tensor, before: Tensor, after: Tensor, rounded_to: torch.dtype
    ) -> None:
        """Note a task vector part that was collected over some merges and is added now; float32 watched entries."""
        self.add_merged(name, state, part)
        applied = _applied(after, before.double(), rounded_to)
        self._add_row(name, part, applied, *[torch.zeros_like(part)] * 5, merge=0.0)

    def make_room(self, names: Sequence[str]) -> bool:
        """Room for what kernels see of these parameters at a merge; whether it is a new one."""
        if self._rooms is not None and self._rooms.names == names:
            return False
        self._rooms = Rooms(names, rooms_of({name: self.watched(name) for name in names}))
        return True

    def places(self, name: str, state: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Positions of a parameter's watched entries, where a kernel adds what it merged in there, and what it saw."""
        watched = self.watched(name)
        if watched.entries is None:
            watched = self._watched[name] = watched._replace(entries=watched.sample.index)
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
            groups: vectors_kernel(sums_of_merge, room.seen, room.weight, room.tau_weight)
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
        """Go on from totals that were saved.

        Raises:
            ValueError: another version saved other ones.
        """
        if len(totals) != len(TOTALS):
            raise ValueError(f"the state must hold {len(TOTALS)} totals of the diagnostics, got {len(totals)}")
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
        merges, intended = totals["merges"], totals["intended"]
        survival = totals["survived"] / intended if intended > 0.0 else math.nan
        ends = self._ends(parameters, states, totals["tau_square"])
        moved, moved_error = ends.displacement, ends.displacement_error
        if not self._seen_enough(parameters, merges):
            moved, moved_error = self._unseen(ends, totals["update_square"]), math.nan
        walked = ends.merged * max(0.0, survival) if ends.merged > 0.0 else 0.0
        square, zeros, entries = self._tau(parameters, pieces)
        travelled = square > 0.0 and self._merger.merged_in
        return {
            "tau_travel": ends.along / square if travelled else 0.0,
            "tau_travel_se": ends.along_error / square if travelled else 0.0,
            "merge_ratio": totals["ratio"] / merges if merges else math.nan,
            "retained_share": totals["retained"] / merges if merges else math.nan,
            "election_dropped_share": totals["dropped"] / totals["update"] if totals["update"] > 0.0 else 0.0,
            "displacement": moved,
            "displacement_se": moved_error,
            "tau_zero_share": zeros / entries if entries else math.nan,
            "lost_update_share": 1.0 - survival,
            "merged_norm": walked,
            "merged_share": walked / moved if moved > 0.0 else math.nan if walked > 0.0 else 0.0,
        }

    def _sample(self, name: str, total: int, device: torch.device) -> Sample:
        """The watched entries of a full tensor, chosen once: the merger may let tau go."""
        if name not in self._samples:
            tau, brought, known = self._merger.whole_tau(name, device), None, False
            if tau is not None and self._merger.merged_in:
                brought, known = self._merger.tau_where_kept(name, tau)
            self._samples[name] = sample_of(name, total, self._size, tau, brought, known).on(device)
        return self._samples[name]

    def _add_row(self, name: str, *seen: Tensor, merge: float = 1.0) -> None:
        """`seen`: as `SEEN` has it; `merge`: whether this counts as a merge."""
        watched = self.watched(name)
        row = torch.stack([*watched.weights(), torch.full_like(seen[0], merge), *seen])
        self._rows.setdefault(watched.groups, []).append(row)

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
        chances = {"tau_chance": self._merger.tau_chance, "update_chance": self._merger.update_chance}
        self._totals = self._totals.to(device)
        for step in totals_of(columns, **chances):  # one by one, whenever it is done
            self._totals = self._totals + step

    def _ends(
        self, parameters: Mapping[str, Tensor], states: Mapping[str, Mapping[str, Any]], tau_square: float
    ) -> Ends:
        """Where the watched entries went; `tau_square`: sum over merges of |alpha S(tau)|^2."""
        went = []
        for name, state in states.items():
            if "start_sample" in state:
                watched = self.watched(name)
                moved = watched.take(parameters[name]) - watched.own(state["start_sample"])
                own = torch.stack([watched.spread(x) for x in (moved, watched.own(state["merged_sample"]))])
                went.append((watched.sample, *summed(watched.groups)(own)))
        return ends_of(went, chance=self._merger.tau_chance, tau_square=tau_square)

    def _seen_enough(self, parameters: Mapping[str, Tensor], merges: float) -> bool:
        """Whether watched entries say how far the others went: all are watched, none is dropped, or many have moved."""
        weights = torch.cat([self._samples[name].weight.cpu() for name in parameters])
        kept = self._merger.settings.density if self._merger.method.sparsifier != "all" else 1.0
        return kept == 1.0 or not merges or bool((weights == 1.0).all()) or merges * kept * len(weights) >= LEAST_SEEN

    def _unseen(self, ends: Ends, update_square: float) -> float:
        """The displacement where hardly a watched entry moved: of masks of which few meet, without decay; or NaN."""
        return math.hypot(ends.merged, math.sqrt(update_square)) if self._merger.averaged else math.nan

    def _tau(self, parameters: Mapping[str, Tensor], pieces: Mapping[str, Piece]) -> tuple[float, int, int]:
        """<tau, tau>, entries of tau that are 0, and all of its entries; exact. No entries without a task vector."""
        if not self._merger.has_task_vector:
            return 0.0, 0, 0
        samples = [self._samples[name] for name in parameters]
        entries = sum(pieces[name].block.total for name in parameters)
        return sum(s.tau_square for s in samples), sum(s.tau_zeros for s in samples), entries


def _applied(after: Tensor, without: Tensor, rounded_to: torch.dtype) -> Tensor:
    """What of a part arrived: the weights after it minus what they would be without it, rounded as weights are.

    Where rounding is right in expectation, `rounded_to` is float64 and the weights without the part are left exact.
    """
    return (after.double() - without.to(rounded_to).double()).float()


def _sums_of(rows: list[Tensor]) -> Tensor:
    """`SUMS` over rows of one step."""
    device = rows[0].device
    weight, tau_weight, merge, *seen = torch.cat([row.to(device) for row in rows], dim=1)
    return sums_of(weight, tau_weight, merge, seen)
