"""OnlineMergeOptimizer around torch's optimizers."""

import io

import pytest
import torch
from torch import nn

from omsweep.merging.split import split
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.wrapper import OnlineMergeOptimizer

INNER = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.02),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.02),
}


def wrapped(parameters, merge, toy, inner="adamw"):
    optimizer = INNER[inner](parameters.values())
    return OnlineMergeOptimizer(optimizer, parameters.items(), merge, toy.task_vector(), toy.tensors(0))


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("k", [1, 3])
def test_nothing_merged_is_the_inner_optimizer_bit_for_bit(toy, inner: str, k: int) -> None:
    ours, theirs = toy.parameters(), toy.parameters()
    merge = OnlineMerge("onties", semantics="equations", gap_steps=k)
    expected = toy.run(INNER[inner](theirs.values()), theirs, range(1, 8))
    for got, wanted in zip(toy.run(wrapped(ours, merge, toy, inner), ours, range(1, 8)), expected, strict=True):
        assert all(torch.equal(got[name], wanted[name]) for name in got)


def test_around_adamw_it_agrees_with_online_merge_adamw(toy, merge_case: OnlineMerge) -> None:
    """Without decay, which the wrapper cannot tell from the update."""
    ours, theirs = toy.parameters(), toy.parameters()
    inner = torch.optim.AdamW(ours.values(), lr=0.02, weight_decay=0.0)
    outer = OnlineMergeOptimizer(inner, ours.items(), merge_case, toy.task_vector(), toy.tensors(0))
    own = OnlineMergeAdamW(theirs.items(), merge_case, toy.task_vector(), toy.tensors(0), lr=0.02)
    for optimizer, parameters in ((outer, ours), (own, theirs)):
        group = optimizer.param_groups[0]
        group["lr"] = 1e-12  # the first updates tie in magnitude, and rounding breaks ties
        toy.run(optimizer, parameters, range(1, 4))
        group["lr"] = 0.02
    steps = range(4, 4 + 2 * merge_case.gap_steps)
    first, expected = (toy.run(optimizer, held, steps)[-1] for optimizer, held in ((outer, ours), (own, theirs)))
    for name, value in expected.items():
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-5)
    found, wanted = outer.diagnostics(), own.diagnostics()
    assert found["tau_travel"] == pytest.approx(wanted["tau_travel"], rel=1e-3)


def test_a_resume_equals_the_uninterrupted_run(toy, merge_case: OnlineMerge) -> None:
    whole = toy.parameters()
    expected = toy.run(wrapped(whole, merge_case, toy), whole, range(1, 7))[-1]
    first = toy.parameters()
    optimizer = wrapped(first, merge_case, toy)
    toy.run(optimizer, first, range(1, 3))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    second = {name: nn.Parameter(value.detach().clone()) for name, value in first.items()}
    resumed = wrapped(second, merge_case, toy)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    weights = toy.run(resumed, second, range(3, 7))[-1]
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_lr_zero_and_missing_gradients_move_nothing(toy, merge_case: OnlineMerge) -> None:
    parameters, start = toy.parameters(), toy.tensors(0)
    optimizer = wrapped(parameters, merge_case, toy)

    def drop(step: int) -> None:
        parameters["body.bias"].grad = None
        optimizer.param_groups[0]["lr"] = 0.0 if step < 4 else 0.02

    seen = toy.run(optimizer, parameters, range(1, 7), before_step=drop)
    assert all(torch.equal(seen[2][name], start[name]) for name in start)
    assert torch.equal(seen[5]["body.bias"], start["body.bias"])
    assert not torch.equal(seen[5]["body.weight"], start["body.weight"])


def test_lr_zero_holds_even_against_the_inner_optimizer(toy) -> None:
    """0 * inf would make the weight NaN."""
    parameters = {"w": nn.Parameter(torch.ones(3))}
    inner = torch.optim.SGD(parameters.values(), lr=0.0)
    optimizer = OnlineMergeOptimizer(inner, parameters.items(), OnlineMerge("adamw"))
    parameters["w"].grad = torch.full((3,), float("inf"))
    optimizer.step()
    assert torch.equal(parameters["w"].detach(), torch.ones(3))


def test_schedulers_see_one_optimizer(toy) -> None:
    parameters = toy.parameters()
    optimizer = wrapped(parameters, OnlineMerge("linear", alpha=0.1), toy)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    toy.run(optimizer, parameters, range(1, 2))
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    optimizer.load_state_dict(optimizer.state_dict())
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in parameters.values())


def test_a_dropped_non_finite_update_leaves_its_weight(toy) -> None:
    parameters = {"w": nn.Parameter(torch.ones(1000))}
    inner = torch.optim.SGD(parameters.values(), lr=0.1)
    merge = OnlineMerge("childtuning", density=0.5)
    optimizer = OnlineMergeOptimizer(inner, parameters.items(), merge)
    parameters["w"].grad = torch.full((1000,), float("nan"))
    optimizer.step()
    assert 400 < int(torch.isfinite(parameters["w"]).sum()) < 600


def test_mistakes_are_named(toy) -> None:
    parameters = toy.parameters()
    inner = torch.optim.SGD(parameters.values(), lr=0.1)
    with pytest.raises(ValueError, match="2 have no name"):
        OnlineMergeOptimizer(inner, [("body.bias", parameters["body.bias"])], OnlineMerge("adamw"))
    optimizer = OnlineMergeOptimizer(inner, parameters.items(), OnlineMerge("adamw"))
    with pytest.raises(ValueError, match="groups are fixed"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    with pytest.raises(ValueError, match="not saved by an online merging optimizer"):
        optimizer.load_state_dict(torch.optim.SGD(parameters.values(), lr=0.1).state_dict())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("k", [1, 2])
def test_low_precision_keeps_what_is_merged(dtype: torch.dtype, k: int) -> None:
    """alpha * tau is a hundredth of the weights' spacing; rounding to nearest would lose nearly all of it."""
    generator = torch.Generator().manual_seed(0)
    start = (0.5 + 0.4 * torch.rand(20_000, generator=generator)).to(dtype)
    tau, steps = {"w": 0.02 * torch.randn(20_000, generator=generator)}, 200
    weight = nn.Parameter(start.clone())
    merge = OnlineMerge("linear", alpha=1e-3 * k, gap_steps=k)
    optimizer = OnlineMergeOptimizer(torch.optim.SGD([weight], lr=1.0), [("w", weight)], merge, tau)
    for _ in range(steps):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    found = optimizer.diagnostics()
    assert split({"w": weight}, {"w": start}, tau).travel == pytest.approx(0.2, rel=0.02)
    assert found["tau_travel"] == pytest.approx(0.2, rel=1e-3)
    assert found["lost_update_share"] == pytest.approx(0.0, abs=1e-2)


def test_muon_whose_parameters_are_matrices() -> None:
    generator = torch.Generator().manual_seed(0)
    start = {name: torch.randn(6, 4, generator=generator) for name in ("a", "b")}
    tau = {name: 0.1 * torch.randn(6, 4, generator=generator) for name in start}
    grads = [torch.randn(6, 4, generator=generator) for _ in range(8)]
    moved = {}
    for label, merge in (
        ("plain", None),
        ("ondare", OnlineMerge("ondare", semantics="equations", alpha=0.1, density=0.5)),
    ):
        parameters = {name: nn.Parameter(value.clone()) for name, value in start.items()}
        optimizer = torch.optim.Muon(parameters.values(), lr=0.02, weight_decay=0.0)
        stepped = optimizer if merge is None else OnlineMergeOptimizer(optimizer, parameters.items(), merge, tau)
        for step in range(4):
            parameters["a"].grad, parameters["b"].grad = grads[2 * step], grads[2 * step + 1]
            stepped.step()
        moved[label] = parameters
    assert stepped.diagnostics()["tau_travel"] == pytest.approx(4 * 0.1 * 0.5, rel=0.3)
    assert not torch.equal(moved["plain"]["a"], moved["ondare"]["a"])


def test_an_8_bit_adamw() -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    weight = nn.Parameter(torch.randn(5000))
    inner = bitsandbytes.optim.AdamW8bit([weight], lr=1e-3)
    optimizer = OnlineMergeOptimizer(inner, [("w", weight)], OnlineMerge("linear", alpha=0.01), {"w": torch.ones(5000)})
    weight.grad = torch.randn(5000)
    before = weight.detach().clone()
    optimizer.step()
    assert not torch.equal(weight, before)
