"""What a sparsifier keeps of an update, for which learning rates are matched."""

import pytest
import torch

from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.retained import retained_share_of
from omsweep.optim.settings import OnlineMerge

UPDATES = {"a": torch.tensor([4.0, -3.0, 2.0, 1.0]), "b": torch.tensor([1.0, -1.0])}


def test_closed_forms() -> None:
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


def test_it_is_what_the_optimizer_reports(toy) -> None:
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
