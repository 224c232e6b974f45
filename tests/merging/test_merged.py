"""One merge, taken apart."""

import pytest
import torch
from torch import Tensor

from omsweep.merging.consensus import towards
from omsweep.merging.merged import Axes, Merged, combined, gap_movement, sparse_tau, sparse_update
from omsweep.merging.methods import METHODS
from omsweep.merging.randomness import mask_key

UPDATE_KEY, TAU_KEY = mask_key(0, 1, "update", "w"), mask_key(0, 1, "task_vector", "w")
GENERATOR = torch.Generator().manual_seed(0)
UPDATE, TAU = torch.randn(64, 5, generator=GENERATOR), torch.randn(64, 5, generator=GENERATOR)


def merged(name: str, update: Tensor, tau: Tensor, *, alpha: float, axes: Axes) -> Merged:
    method = METHODS[name]
    update_sparse = sparse_update(method, update, axes=axes, key=UPDATE_KEY, shard=None)
    return combined(method, update_sparse, sparse_tau(method, tau, axes=axes, key=TAU_KEY, shard=None), alpha, axes)


def test_ondare_at_full_density_is_linear() -> None:
    for rescale in ("none", "inverse", "norm"):
        left, right = (
            merged(name, UPDATE, TAU, alpha=0.3, axes=Axes(rescale=rescale)) for name in ("linear", "ondare")
        )
        assert torch.equal(left.movement, right.movement)


@pytest.mark.parametrize("name", ["linear", "ondare", "onties"])
def test_movement_is_the_sum_of_its_parts(name: str) -> None:
    axes = Axes(density=0.5 if name != "linear" else 1.0, elect="weighted" if name == "onties" else "none")
    found = merged(name, UPDATE, TAU, alpha=0.3, axes=axes)
    assert found.tau_kept is not None
    assert torch.equal(found.movement, found.update_kept + found.tau_kept)


def test_update_and_tau_draw_independent_masks() -> None:
    found = merged("ondare", UPDATE, TAU, alpha=0.5, axes=Axes(density=0.5))
    assert found.tau_sparse is not None
    same = int(((found.update_sparse != 0) == (found.tau_sparse != 0)).sum())
    assert abs(same - 160) < 4 * 320**0.5 / 2


def test_tau_is_clamped_after_rescaling_and_before_weighting() -> None:
    tau = torch.tensor([0.4, -0.6, 0.7, -3.0])
    axes = Axes(density=0.5, rescale="inverse", clip=1.0)
    found = merged("ondare", torch.zeros(4), tau, alpha=0.1, axes=axes)
    assert found.tau_sparse is not None
    kept = found.tau_sparse != 0
    assert bool(kept.any())
    expected = (tau * 2).clamp(-1.0, 1.0)
    assert torch.equal(found.tau_sparse[kept], expected[kept])
    assert torch.equal(found.movement, found.tau_sparse * 0.1)


def test_a_pull_in_closed_form() -> None:
    weights, target = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    assert towards(weights, target, 0.25).tolist() == [-0.25, 0.5]
    assert towards(weights, target, 0.0).tolist() == [0.0, 0.0]


def test_a_gap_that_keeps_everything_moves_by_its_last_update() -> None:
    gap = UPDATE + TAU
    assert torch.equal(gap_movement(UPDATE, gap, gap.clone()), UPDATE)
