"""Notes compiled steps in the ledger: the merge is done again, on the watched entries of all tensors at once.

Kernels leave only weights and moments behind; doing a few thousand entries again costs less than writing every part out.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from omsweep.optim.diagnostics import Ledger, Watched
from omsweep.optim.kernels import NUMBERS, Kind, adam_displacement, merged_terms
from omsweep.optim.precision import join_bfloat16
from omsweep.optim.sharding import Groups

if TYPE_CHECKING:
    from omsweep.optim.adamw import Item


def held_samples(items: Sequence["Item"], ledger: Ledger) -> list[Tensor]:
    """Watched entries of every parameter's weights as they are held, float32."""
    return [_held(item, ledger.watched(item.name)) for item in items]


def record(
    items: Sequence["Item"],
    before: Sequence[Tensor],
    updates: Sequence[Tensor | None],
    numbers: Tensor,
    words: Tensor,
    *,
    kind: Kind,
    ledger: Ledger,
) -> None:
    """Note one step.

    Args:
        items: the parameters, stepped.
        before: what `held_samples` gave before the step.
        updates: watched entries of each update, None where they follow from the moments.
        numbers: one row of `NUMBERS` per parameter, float32.
        words: one row of `WORDS` per parameter, int32.
        kind: as compiled, but with tau as it comes.
        ledger: that of the optimizer.
    """
    by_groups: dict[Groups, list[int]] = {}
    for i, item in enumerate(items):
        by_groups.setdefault(ledger.watched(item.name).groups, []).append(i)
    after = held_samples(items, ledger)
    for groups, at in by_groups.items():
        _record_together(
            [items[i] for i in at],
            torch.cat([before[i] for i in at]),
            torch.cat([after[i] for i in at]),
            None if updates[at[0]] is None else torch.cat([_given(updates[i]) for i in at]),
            numbers[at] if len(at) < len(items) else numbers,
            words[at] if len(at) < len(items) else words,
            kind,
            ledger,
            groups,
        )


def _record_together(
    items: Sequence["Item"],
    before: Tensor,
    after: Tensor,
    update: Tensor | None,
    numbers: Tensor,
    words: Tensor,
    kind: Kind,
    ledger: Ledger,
    groups: Groups,
) -> None:
    sample = ledger.together([item.name for item in items], [item.piece.block for item in items])
    each, keys = numbers.t()[:, sample.owner], words.t()[:, sample.owner]
    if update is None:
        moments = (
            torch.cat([ledger.watched(item.name).take(item.state[key]) for item in items])
            for key in ("exp_avg", "exp_avg_sq")
        )
        update = adam_displacement(*moments, each)
    tau = sample.tau if kind.tau != "none" and ledger.merged_in else None
    terms = merged_terms(update, tau, sample.index, each, keys, kind)
    share, kept = each[NUMBERS.index("update_share")], each[NUMBERS.index("kept")]
    without, part, tau_term = before * kept, terms.update_kept, torch.zeros_like(before)
    if terms.tau_kept is not None and terms.tau_sparse is not None:
        without = without.double() + terms.update_kept.double()
        part, tau_term = terms.tau_kept, each[NUMBERS.index("alpha")] * terms.tau_sparse
        ledger.add_merged([item.name for item in items], [item.state for item in items], part)
    rounded_to = torch.float64 if kind.stochastic else items[0].weights.dtype
    applied = (after.double() - without.to(rounded_to).double()).float()
    ledger.add_rows(groups, sample, part, applied, update, terms.update_sparse, share * terms.update_sparse, tau_term)


def _held(item: "Item", watched: Watched) -> Tensor:
    if "low_bits" in item.state:
        return join_bfloat16(watched.pick(item.weights), watched.pick(item.state["low_bits"]))
    return watched.take(item.weights)


def _given(x: Any) -> Tensor:
    assert x is not None, "kernels of one kind form their updates alike"
    return x
