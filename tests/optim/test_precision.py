"""Weights in low precision: what is stored, what survives, and what `auto` picks."""

import copy
import logging

import pytest
import torch
from torch import Tensor, nn

from omsweep.merging.randomness import mask_key, uniform_bits
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.precision import LAZY_STEPS, add_stochastic, join_bfloat16, pick_precision, split_bfloat16
from omsweep.optim.settings import OnlineMerge


def test_a_bfloat16_and_16_bits_are_a_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, (200_000,), generator=generator, dtype=torch.int64).to(torch.int32)
    weights = bits.view(torch.float32)
    weights = weights[torch.isfinite(weights) & (weights.abs() < 3.3e38)]
    high, low = split_bfloat16(weights)
    assert torch.equal(join_bfloat16(high, low), weights)
    nearest = weights.bfloat16()
    halfway = (high != nearest).nonzero().squeeze(1)  # ties go away from zero here, to even in torch
    assert halfway.numel() < 100
    assert bool((low[halfway] == -(2**15)).all())


def test_stochastic_sums_are_neighbours_and_right_in_expectation() -> None:
    weights, movement = torch.full((400_000,), 0.02), torch.full((400_000,), 1e-10)
    bits = uniform_bits(400_000, mask_key(0, 1, "rounding", "w"))
    moved = add_stochastic(weights, movement, bits)
    assert moved.unique().numel() == 2
    gained = float((moved.double() - weights.double()).mean())
    assert gained == pytest.approx(1e-10, rel=0.05)
    down = add_stochastic(-weights, -movement, bits)
    assert torch.equal(down, -moved)


def test_exact_and_infinite_sums_are_left_alone() -> None:
    weights = torch.tensor([1.0, 0.0, float("inf"), 3.0])
    movement = torch.tensor([0.5, 0.0, 1.0, -3.0])
    bits = torch.zeros(4, dtype=torch.int64)
    assert add_stochastic(weights, movement, bits).tolist() == [1.5, 0.0, float("inf"), 0.0]


@pytest.mark.parametrize(
    ("dtype", "alpha", "expected"),
    [
        (torch.float32, None, "nearest"),
        (torch.float32, 1e-3, "nearest"),
        (torch.float32, 1e-7, "stochastic"),
        (torch.bfloat16, None, "stochastic"),
        (torch.float16, 1e-3, "stochastic"),
    ],
)
def test_auto_picks_by_dtype_and_alpha(dtype: torch.dtype, alpha: float | None, expected: str) -> None:
    assert pick_precision("auto", {dtype}, smallest_alpha=alpha) == expected


def test_what_was_picked_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="omsweep.optim"):
        optimizer = OnlineMergeAdamW([("w", nn.Parameter(torch.zeros(3)))], OnlineMerge("adamw"))
    assert optimizer.precision == "nearest"
    assert "precision auto: nearest for weights in torch.float32" in caplog.text


def survival(dtype: torch.dtype, precision: str, merge: OnlineMerge, steps: int = 120, count: int = 60_000) -> float:
    """<applied, intended> / <intended, intended> of the merged-in part, in the weights as they are held."""
    generator = torch.Generator().manual_seed(0)
    start = (0.02 * torch.randn(count, generator=generator)).to(dtype)
    tau = {"w": torch.full((count,), 1e-10 / merge.alpha) * torch.randn(count, generator=generator).sign()}
    weight = nn.Parameter(start.clone())
    optimizer = OnlineMergeAdamW([("w", weight)], merge, tau, lr=1e-12, precision=precision)
    for _ in range(steps):
        weight.grad = torch.randn(count, generator=generator).to(dtype)
        optimizer.step()
    optimizer.flush()
    applied = held(weight, optimizer).double() - start.double()
    intended = steps * merge.alpha * tau["w"].double()
    if merge.tau_mask == "fixed":
        kept = optimizer._merger.sparse_tau("w", optimizer._pieces["w"], 0, torch.device("cpu")) != 0
        applied, intended = applied[kept], intended[kept]
    return float((applied * intended).sum() / intended.square().sum())


def held(weight: Tensor, optimizer: OnlineMergeAdamW) -> Tensor:
    state = optimizer.state[weight]
    if "low_bits" in state:
        return join_bfloat16(weight.detach(), state["low_bits"])
    return state.get("master", weight.detach())


LINEAR = OnlineMerge("linear", alpha=1e-7)
FIXED = OnlineMerge("ondare", semantics="equations", alpha=1e-7, density=0.3, tau_mask="fixed")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("precision", ["stochastic", "lazy_tau"])
@pytest.mark.parametrize("merge", [LINEAR, FIXED], ids=["linear", "ondare"])
def test_a_task_vector_far_under_half_a_spacing_survives(
    dtype: torch.dtype, precision: str, merge: OnlineMerge
) -> None:
    assert survival(dtype, precision, merge) == pytest.approx(1.0, abs=0.05)


@pytest.mark.filterwarnings("ignore:1 parameters are torch.bfloat16")
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 0.5), (torch.bfloat16, 0.05)])
def test_nearest_rounding_swallows_it(dtype: torch.dtype, most: float) -> None:
    assert survival(dtype, "nearest", LINEAR) < most


def test_lazy_tau_equals_nearest_where_rounding_does_not_matter(toy) -> None:
    merge = OnlineMerge("linear", alpha=0.05, gap_steps=2)
    found = []
    for precision in ("nearest", "lazy_tau"):
        parameters = toy.parameters()
        optimizer = OnlineMergeAdamW(
            parameters.items(), merge, toy.task_vector(), lr=0.02, weight_decay=0.1, precision=precision
        )
        toy.run(optimizer, parameters, range(1, 8))
        optimizer.flush()
        found.append((parameters, optimizer.diagnostics()))
    for name, expected in found[0][0].items():
        torch.testing.assert_close(found[1][0][name], expected, rtol=1e-5, atol=1e-5)
    for key in ("tau_travel", "merge_ratio", "displacement"):
        assert found[1][1][key] == pytest.approx(found[0][1][key], rel=1e-2), key  # what is owed decays meanwhile


def test_what_lazy_tau_owes_is_saved_and_paid_every_so_often(toy) -> None:
    def fresh(parameters):
        return OnlineMergeAdamW(
            parameters.items(), OnlineMerge("linear", alpha=0.001), toy.task_vector(), precision="lazy_tau"
        )

    whole = toy.parameters()
    optimizer = fresh(whole)
    toy.run(optimizer, whole, range(1, 4))
    assert float(optimizer.state[whole["body.bias"]]["pending_tau"]) == pytest.approx(0.003)
    second = {name: nn.Parameter(value.detach().clone()) for name, value in whole.items()}
    resumed = fresh(second)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for parameters, taken in ((whole, optimizer), (second, resumed)):
        toy.run(taken, parameters, range(4, LAZY_STEPS + 1))
        assert float(taken.state[parameters["body.bias"]]["pending_tau"]) == 0.0
    assert all(torch.equal(whole[name], second[name]) for name in whole)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_resume_goes_on_with_the_low_bits(toy, dtype: torch.dtype) -> None:
    merge = OnlineMerge("ondare", semantics="equations", alpha=0.01, density=0.5)

    def fresh(parameters):
        return OnlineMergeAdamW(parameters.items(), merge, toy.task_vector(), lr=1e-4)

    def run(optimizer, parameters, steps):
        for step in steps:
            for name, gradient in toy.tensors(2000 + step, 0.1).items():
                parameters[name].grad = gradient.to(dtype)
            optimizer.step()

    whole = {name: nn.Parameter(value.to(dtype)) for name, value in toy.tensors(0).items()}
    optimizer = fresh(whole)
    run(optimizer, whole, range(1, 4))
    second = {name: nn.Parameter(value.detach().clone()) for name, value in whole.items()}
    resumed = fresh(second)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(optimizer, whole, range(4, 30))
    run(resumed, second, range(4, 30))
    for name in whole:
        assert torch.equal(whole[name], second[name])
        assert torch.equal(held(whole[name], optimizer), held(second[name], resumed))
    with pytest.raises(ValueError, match="precision must be stochastic, as when the state was saved, got nearest"):
        fresh(toy.parameters()).load_state_dict(optimizer.state_dict())
