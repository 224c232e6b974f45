"""The table of methods and one merge."""

import pytest
import torch

from omsweep.merging.knobs import METHOD_KNOBS, SEMANTICS
from omsweep.merging.method import Axes, gap_movement, merge
from omsweep.merging.methods import METHODS
from omsweep.merging.randomness import mask_key

UPDATE_KEY, TAU_KEY = mask_key(0, 1, "update", "w"), mask_key(0, 1, "task_vector", "w")
GENERATOR = torch.Generator().manual_seed(0)
UPDATE, TAU = torch.randn(64, 5, generator=GENERATOR), torch.randn(64, 5, generator=GENERATOR)


def test_tables_name_the_same_methods() -> None:
    assert list(METHODS) == list(METHOD_KNOBS)
    for axes in SEMANTICS.values():
        for method, says in axes.items():
            assert set(says) <= set(METHOD_KNOBS[method])
    elections = METHODS["onties"].consensus
    assert elections is not None
    assert {says["onties"]["elect"] for says in SEMANTICS.values()} == set(elections)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_where_it_comes_from(name: str) -> None:
    assert METHODS[name].source.startswith("arXiv:")


def test_ondare_at_full_density_is_linear() -> None:
    for rescale in ("none", "inverse", "norm"):
        left, right = (
            merge(
                METHODS[name],
                UPDATE,
                TAU,
                alpha=0.3,
                axes=Axes(rescale=rescale),
                update_key=UPDATE_KEY,
                tau_key=TAU_KEY,
            )
            for name in ("linear", "ondare")
        )
        assert torch.equal(left.movement, right.movement)


@pytest.mark.parametrize("name", ["linear", "ondare", "onties"])
def test_movement_is_the_sum_of_its_parts(name: str) -> None:
    axes = Axes(density=0.5 if name != "linear" else 1.0, elect="weighted" if name == "onties" else "none")
    merged = merge(METHODS[name], UPDATE, TAU, alpha=0.3, axes=axes, update_key=UPDATE_KEY, tau_key=TAU_KEY)
    assert merged.tau_kept is not None
    assert torch.equal(merged.movement, merged.update_kept + merged.tau_kept)


def test_update_and_tau_draw_independent_masks() -> None:
    merged = merge(
        METHODS["ondare"],
        UPDATE,
        TAU,
        alpha=0.5,
        axes=Axes(density=0.5),
        update_key=UPDATE_KEY,
        tau_key=TAU_KEY,
    )
    assert merged.tau_sparse is not None
    same = int(((merged.update_sparse != 0) == (merged.tau_sparse != 0)).sum())
    assert abs(same - 160) < 4 * 320**0.5 / 2


def test_tau_is_clamped_after_rescaling_and_before_weighting() -> None:
    tau = torch.tensor([0.4, -0.6, 0.7, -3.0])
    merged = merge(
        METHODS["ondare"],
        torch.zeros(4),
        tau,
        alpha=0.1,
        axes=Axes(density=0.5, rescale="inverse", clip=1.0),
        update_key=UPDATE_KEY,
        tau_key=TAU_KEY,
    )
    assert merged.tau_sparse is not None
    kept = merged.tau_sparse != 0
    assert bool(kept.any())
    expected = (tau * 2).clamp(-1.0, 1.0)
    assert torch.equal(merged.tau_sparse[kept], expected[kept])
    assert torch.equal(merged.movement, merged.tau_sparse * 0.1)


def test_an_anchor_pull_in_closed_form() -> None:
    pull = METHODS["anchor"].pull
    assert pull is not None
    weights, target = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    assert pull(weights, target, 0.25).tolist() == [-0.25, 0.5]
    assert pull(weights, target, 0.0).tolist() == [0.0, 0.0]


def test_a_gap_that_keeps_everything_moves_by_its_last_update() -> None:
    gap = UPDATE + TAU
    assert torch.equal(gap_movement(UPDATE, gap, gap.clone()), UPDATE)
