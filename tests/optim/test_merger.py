"""What an optimizer holds of its task vector and keeps of its updates."""

import gc
import types

import pytest
import torch
from torch import Tensor, nn

from omsweep.merging.sparsify import top_threshold
from omsweep.merging.threshold import TopThreshold
from omsweep.optim import OnlineMergeAdamW
from omsweep.optim import merger as merging
from omsweep.optim.merger import Merger, retained_share_of
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.sharding import piece_of


@pytest.mark.parametrize("spacing", [0.01, 0.25], ids=["few ties", "more than are remembered"])
def test_ties_of_a_task_vector_are_broken_anew_at_every_merge(spacing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    tau = {"w": (x / spacing).round() * spacing}
    searched: list[int] = []

    def counted(*arguments: object) -> TopThreshold:
        searched.append(1)
        return top_threshold(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(merging, "top_threshold", counted)
    merge = OnlineMerge("onties", semantics="equations", alpha=0.1, density=0.3)
    merger = Merger(merge, {"w": x}, task_vector=tau, reference=None, path="plain")
    ties = set()
    for step in range(1, 6):
        found = merger.tau_threshold("w", piece_of("w", x), step, x.device)
        assert found == top_threshold(tau["w"], 6000, merger.tau_key("w", step))
        ties.add(found.tie)
    assert len(ties) == 5
    assert len(searched) == (1 if spacing < 0.1 else 5)


def held_bytes(owner: object) -> int:
    """Bytes of every tensor that can be reached from `owner`, each storage once."""
    found: dict[int, int] = {}
    seen: set[int] = set()
    waiting: list[object] = [owner]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | types.ModuleType | types.FunctionType):
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            storage = one.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
            waiting.append(one.grad)
        else:
            waiting.extend(gc.get_referents(one))
    return sum(found.values())


@pytest.mark.parametrize("method", ["ondare", "onties"])
def test_a_fixed_task_vector_takes_under_half_a_byte_per_parameter(method: str) -> None:
    entries = 400_000
    weight = nn.Parameter(torch.randn(entries // 400, 400))
    merge = OnlineMerge(method, semantics="equations", alpha=0.1, density=0.05, tau_mask="fixed")
    optimizer = OnlineMergeAdamW([("w", weight)], merge, {"w": torch.randn(weight.shape)}, lr=1e-3, path="plain")
    for _ in range(3):
        weight.grad = torch.randn(weight.shape)
        optimizer.step()
    adamw = 4 * 4 * entries  # weight, gradient, two moments
    assert 0.3 < (held_bytes(optimizer) - adamw) / entries < 0.5


UPDATES = {"a": torch.tensor([4.0, -3.0, 2.0, 1.0]), "b": torch.tensor([1.0, -1.0])}


def test_retained_shares_in_closed_form() -> None:
    onties = OnlineMerge("onties", semantics="equations", density=0.5, alpha=0.3)
    assert retained_share_of(UPDATES, merge=onties) == pytest.approx((7 + 1) / 12)
    released = OnlineMerge("onties", semantics="released", density=0.01)
    assert retained_share_of(UPDATES, merge=released) == 1.0  # dense where nothing would be kept
    norm = OnlineMerge("onties", semantics="equations", density=0.5, rescale="norm")
    assert retained_share_of(UPDATES, merge=norm) == pytest.approx(1.0)
    for method in ("adamw", "linear", "anchor"):
        assert retained_share_of(UPDATES, merge=OnlineMerge(method)) == 1.0


def test_ondare_keeps_p_and_rescaled_all_in_the_mean() -> None:
    many = {"w": torch.randn(100_000, generator=torch.Generator().manual_seed(0))}
    for semantics, expected in (("equations", 0.2), ("released", 1.0)):
        merge = OnlineMerge("ondare", semantics=semantics, density=0.2)
        assert retained_share_of(many, merge=merge) == pytest.approx(expected, rel=0.02)


def test_the_retained_share_is_what_the_optimizer_reports(toy) -> None:
    parameters = toy.parameters()
    merge = OnlineMerge("onties", semantics="equations", density=0.3, seed=4)
    optimizer = OnlineMergeAdamW(parameters.items(), merge)
    toy.run(optimizer, parameters, range(1, 2))
    share = retained_share_of(optimizer.updates(), merge=merge, step=1)
    assert share == pytest.approx(optimizer.diagnostics()["retained_share"], rel=1e-5)


def test_nothing_moved_is_named() -> None:
    with pytest.raises(ValueError, match="updates must hold a movement, got 1 tensors that sum to 0"):
        retained_share_of({"a": torch.zeros(3)}, merge=OnlineMerge("adamw"))
    with pytest.raises(ValueError, match="got 0 tensors"):
        retained_share_of({}, merge=OnlineMerge("adamw"))
