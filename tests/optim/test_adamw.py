"""OnlineMergeAdamW against torch.optim.AdamW, closed forms, and the rules of a step."""

import math

import pytest
import torch

from omsweep.merging.randomness import keep_random, mask_key
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge

PLAIN = [
    OnlineMerge("adamw"),
    OnlineMerge("anchor"),
    *(
        OnlineMerge(method, gap_steps=k, **knobs)
        for k in (1, 2, 5, 9)
        for method, knobs in [
            ("linear", {}),
            ("childtuning", {}),
            ("ondare", {"semantics": "equations"}),
            ("ondare", {"semantics": "released"}),
            ("onties", {"semantics": "equations"}),
            ("onties", {"semantics": "released", "elect": "weighted"}),
        ]
    ),
]


def bits_equal(left: torch.Tensor, right: torch.Tensor) -> bool:
    return torch.equal(left.view(torch.int32), right.view(torch.int32))


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("merge", PLAIN, ids=lambda m: f"{m.method}-{m.semantics}-K{m.gap_steps}")
def test_nothing_merged_is_torch_adamw_bit_for_bit(toy, merge: OnlineMerge, weight_decay: float, foreach: bool) -> None:
    """alpha = 0 and p = 1, for every K."""
    options = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": weight_decay}
    ours, theirs = toy.parameters(), toy.parameters()
    theirs_optimizer = torch.optim.AdamW(theirs.values(), foreach=foreach, **options)
    ours_optimizer = OnlineMergeAdamW(ours.items(), merge, reference=toy.tensors(0), **options)
    expected = toy.run(theirs_optimizer, theirs, range(1, 12))
    for step, (got, wanted) in enumerate(zip(toy.run(ours_optimizer, ours, range(1, 12)), expected, strict=True)):
        assert all(bits_equal(got[name], wanted[name]) for name in got), step + 1


def test_schedulers_and_groups_work_as_with_torch(toy) -> None:
    """A warm-up from 0, two groups with their own decay, gradients that come and go."""

    def groups(parameters):
        names = list(parameters)
        return [
            {"params": [(n, parameters[n]) for n in names[:1]], "weight_decay": 0.3},
            {"params": [(n, parameters[n]) for n in names[1:]], "weight_decay": 0.0, "lr": 0.01},
        ]

    def schedule(optimizer):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 4, 1.0))

    seen = []
    for make in (
        lambda p: torch.optim.AdamW(groups(p), lr=0.05),
        lambda p: OnlineMergeAdamW(groups(p), OnlineMerge("adamw"), lr=0.05),
    ):
        parameters = toy.parameters()
        optimizer = make(parameters)
        scheduler = schedule(optimizer)
        for step in range(1, 10):
            toy.set_gradients(parameters, step)
            if step % 3 == 0:
                parameters["body.bias"].grad = None
            optimizer.step()
            scheduler.step()
        seen.append(parameters)
    assert all(bits_equal(seen[0][name].detach(), seen[1][name].detach()) for name in seen[0])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_alpha_one_walks_along_tau_only(toy, k: int) -> None:
    """At merges: theta_0 + merges * tau, whatever the gradients say."""
    parameters, start, tau = toy.parameters(), toy.tensors(0), toy.task_vector()
    merge = OnlineMerge("linear", alpha=1.0, gap_steps=k)
    optimizer = OnlineMergeAdamW(parameters.items(), merge, tau, lr=0.02)
    for step, weights in enumerate(toy.run(optimizer, parameters, range(1, 7)), start=1):
        if step % k == 0:
            for name, value in weights.items():
                torch.testing.assert_close(value, start[name] + step // k * tau[name], rtol=1e-5, atol=1e-5)
    assert optimizer.diagnostics()["tau_travel"] == pytest.approx(6 // k)


def test_one_ondare_step_in_closed_form(toy) -> None:
    """First step: delta = -lr * g / (|g| + eps); masks drawn from the bits of step 1."""
    parameters, tau = toy.parameters(), toy.task_vector()
    merge = OnlineMerge("ondare", semantics="equations", alpha=0.25, density=0.5, seed=11)
    optimizer = OnlineMergeAdamW(parameters.items(), merge, tau, lr=0.02, weight_decay=0.5)
    start = toy.tensors(0)
    toy.run(optimizer, parameters, range(1, 2))
    for name, gradient in toy.tensors(2001, 0.1).items():
        delta = -0.02 * gradient / (gradient.abs() + 1e-8)
        keep_u, keep_t = (
            keep_random(delta.numel(), 0.5, mask_key(11, 1, stream, name)).view(delta.shape)
            for stream in ("update", "task_vector")
        )
        movement = 0.75 * torch.where(keep_u, delta, 0.0) + 0.25 * torch.where(keep_t, tau[name], 0.0)
        torch.testing.assert_close(
            parameters[name].detach(), start[name] * (1 - 0.02 * 0.5) + movement, rtol=1e-5, atol=1e-6
        )


def test_a_fixed_tau_mask_stays_and_a_resampled_one_does_not(toy) -> None:
    """alpha = 1: the movement of each step is S(tau)."""
    for tau_mask, same in (("fixed", True), ("resample", False)):
        parameters = toy.parameters()
        merge = OnlineMerge("ondare", semantics="equations", alpha=1.0, density=0.5, tau_mask=tau_mask)
        optimizer = OnlineMergeAdamW(parameters.items(), merge, toy.task_vector(), lr=0.02)
        first, second, third = (w["body.weight"] for w in toy.run(optimizer, parameters, range(1, 4)))
        assert torch.equal((second - first).abs() > 1e-6, (third - second).abs() > 1e-6) is same


def test_anchor_is_decoupled_l2_sp(toy) -> None:
    """theta <- theta_r + (1 - alpha)(theta - theta_r + delta)."""
    parameters, theirs, target = toy.parameters(), toy.parameters(), toy.tensors(5)
    optimizer = OnlineMergeAdamW(
        parameters.items(), OnlineMerge("anchor", alpha=0.1), reference=target, lr=0.02, weight_decay=0.1
    )
    adamw = torch.optim.AdamW(theirs.values(), lr=0.02, weight_decay=0.1)
    for step in range(1, 5):
        toy.run(optimizer, parameters, range(step, step + 1))
        toy.run(adamw, theirs, range(step, step + 1))
        with torch.no_grad():
            for name, weights in theirs.items():
                weights.copy_(target[name] + 0.9 * (weights - target[name]))
        for name, weights in theirs.items():
            torch.testing.assert_close(parameters[name], weights)


def test_an_unweighted_election_asks_tau_even_at_alpha_zero(toy) -> None:
    """As released: where tau is kept its sign wins, so alpha = 0 is not AdamW and needs a task vector."""
    merge = OnlineMerge("onties", semantics="released", alpha=0.0)
    with pytest.raises(ValueError, match="task_vector must be given"):
        OnlineMergeAdamW(toy.parameters().items(), merge)
    parameters, start, tau = toy.parameters(), toy.tensors(0), toy.task_vector()
    toy.run(OnlineMergeAdamW(parameters.items(), merge, tau, lr=0.02), parameters, range(1, 2))
    for name, gradient in toy.tensors(2001, 0.1).items():
        opposed = (tau[name].abs() > 0.03) & (torch.sign(tau[name]) == torch.sign(gradient))
        assert bool(opposed.any())
        assert torch.equal(parameters[name].detach()[opposed], start[name][opposed])


def test_lr_zero_moves_nothing_and_merges_nothing(toy, merge_case: OnlineMerge) -> None:
    """Not even with decay; the moments go on, the step counts."""
    parameters, start = toy.parameters(), toy.tensors(0)
    optimizer = OnlineMergeAdamW(
        parameters.items(), merge_case, toy.task_vector(), toy.tensors(5), lr=0.02, weight_decay=0.1
    )
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    weights = toy.run(optimizer, parameters, range(1, 4))[-1]
    assert all(bits_equal(weights[name], start[name]) for name in start)
    assert optimizer.param_groups[0]["steps_taken"] == 3
    assert float(optimizer.state[parameters["body.bias"]]["step"]) == 3
    assert optimizer.diagnostics()["tau_travel"] == 0.0


def test_a_gap_is_carried_over_a_merge_at_lr_zero(toy) -> None:
    """K = 2, lr = 0 at step 2: the merge of step 4 holds the updates of steps 1, 3 and 4."""
    parameters, tau = toy.parameters(), toy.task_vector()
    optimizer = OnlineMergeAdamW(parameters.items(), OnlineMerge("linear", alpha=0.5, gap_steps=2), tau, lr=0.02)

    def rate(step: int) -> None:
        optimizer.param_groups[0]["lr"] = 0.0 if step == 2 else 0.02

    seen = toy.run(optimizer, parameters, range(1, 5), before_step=rate)
    plain = toy.parameters()
    adamw = torch.optim.AdamW(plain.values(), lr=0.02, weight_decay=0.0)

    def rate_too(step: int) -> None:
        adamw.param_groups[0]["lr"] = 0.0 if step == 2 else 0.02

    reference = toy.run(adamw, plain, range(1, 5), before_step=rate_too)
    for name, start in toy.tensors(0).items():
        assert torch.equal(seen[1][name], seen[0][name])
        moved = reference[3][name] - start
        torch.testing.assert_close(seen[3][name], start + 0.5 * moved + 0.5 * tau[name], rtol=1e-5, atol=1e-5)
    gap = optimizer.state[parameters["body.bias"]]["gap_update"]
    assert torch.equal(gap, torch.zeros_like(gap))


def test_decay_comes_every_step_and_does_not_rescale_the_gap(toy) -> None:
    """Algorithm 2, K = 2: theta_2 = (theta_0 d + delta_1) d + delta_2 + (C - Delta), Delta = delta_1 + delta_2."""
    parameters, tau = toy.parameters(), toy.task_vector()
    optimizer = OnlineMergeAdamW(
        parameters.items(), OnlineMerge("linear", alpha=0.25, gap_steps=2), tau, lr=0.02, weight_decay=0.5
    )
    toy.run(optimizer, parameters, range(1, 2))
    first = optimizer.updates()
    toy.run(optimizer, parameters, range(2, 3))
    second, decay = optimizer.updates(), 1 - 0.02 * 0.5
    for name, start in toy.tensors(0).items():
        gap = first[name] + second[name]
        merged = 0.75 * gap + 0.25 * tau[name]
        expected = (start * decay + first[name]) * decay + second[name] + merged - gap
        torch.testing.assert_close(parameters[name].detach(), expected, rtol=1e-5, atol=1e-6)


def test_a_parameter_without_gradient_is_skipped_tau_included(toy, merge_case: OnlineMerge) -> None:
    parameters, start = toy.parameters(), toy.tensors(0)
    optimizer = OnlineMergeAdamW(
        parameters.items(), merge_case, toy.task_vector(), toy.tensors(5), lr=0.02, weight_decay=0.1
    )

    def drop(step: int) -> None:
        parameters["body.bias"].grad = None

    weights = toy.run(optimizer, parameters, range(1, 7), before_step=drop)[-1]
    assert torch.equal(weights["body.bias"], start["body.bias"])
    assert not optimizer.state[parameters["body.bias"]]
    assert not torch.equal(weights["body.weight"], start["body.weight"])


@pytest.mark.parametrize("bad", [math.inf, math.nan])
@pytest.mark.parametrize("rescale", ["none", "inverse", "norm"])
def test_a_dropped_non_finite_update_does_not_poison_its_weight(toy, bad: float, rescale: str) -> None:
    parameters = toy.parameters()
    merge = OnlineMerge("ondare", semantics="equations", alpha=0.1, density=0.5, rescale=rescale)
    optimizer = OnlineMergeAdamW(parameters.items(), merge, toy.task_vector(), lr=0.02)
    dropped = ~keep_random(35, 0.5, mask_key(0, 1, "update", "body.weight"))

    def spoil(step: int) -> None:
        gradient = parameters["body.weight"].grad
        assert gradient is not None
        gradient.view(-1)[dropped] = bad

    weights = toy.run(optimizer, parameters, range(1, 2), before_step=spoil)[-1]["body.weight"]
    assert bool(torch.isfinite(weights).all())


def test_follow_lr_scales_alpha_with_the_learning_rate(toy) -> None:
    """With density 1 the travel is alpha times the sum of lr / initial lr."""
    parameters = toy.parameters()
    merge = OnlineMerge("linear", alpha=0.1, alpha_schedule="follow_lr")
    optimizer = OnlineMergeAdamW(parameters.items(), merge, toy.task_vector(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 4)
    for step in range(1, 5):
        toy.run(optimizer, parameters, range(step, step + 1))
        scheduler.step()
    assert optimizer.diagnostics()["tau_travel"] == pytest.approx(0.1 * (1 + 0.75 + 0.5 + 0.25))
    optimizer.param_groups[0]["lr"] = 1.0
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], and follow_lr makes it"):
        toy.run(optimizer, parameters, range(5, 6))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_weights_are_computed_in_float32_and_rounded_once(toy, dtype: torch.dtype) -> None:
    parameters = {name: torch.nn.Parameter(value.to(dtype)) for name, value in toy.tensors(0).items()}
    shadow = {name: torch.nn.Parameter(value.detach().float()) for name, value in parameters.items()}
    merge = OnlineMerge("ondare", semantics="equations", alpha=0.1, density=0.5)
    with pytest.warns(UserWarning, match="lost_update_share"):
        low = OnlineMergeAdamW(
            parameters.items(), merge, toy.task_vector(), lr=0.02, weight_decay=0.1, precision="nearest"
        )
    high = OnlineMergeAdamW(shadow.items(), merge, toy.task_vector(), lr=0.02, weight_decay=0.1)
    for step in range(1, 4):
        for name, gradient in toy.tensors(2000 + step, 0.1).items():
            parameters[name].grad = gradient.to(dtype)
            shadow[name].grad = gradient.to(dtype).float()
        low.step()
        high.step()
        for name, value in shadow.items():
            assert torch.equal(parameters[name].detach(), value.detach().to(dtype))
            with torch.no_grad():
                value.copy_(parameters[name].detach())
    assert low.state[parameters["body.bias"]]["exp_avg"].dtype == torch.float32
    assert low.diagnostics()["lost_update_share"] < 0.5


def test_a_closure_is_called_and_its_loss_returned(toy) -> None:
    parameters = toy.parameters()
    optimizer = OnlineMergeAdamW(parameters.items(), OnlineMerge("adamw"))

    def closure() -> float:
        optimizer.zero_grad()
        loss = sum(p.square().sum() for p in parameters.values())
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert loss is not None
    assert float(closure().detach()) < float(loss.detach())


def test_mistakes_are_named(toy) -> None:
    parameters, adamw = toy.parameters(), OnlineMerge("adamw")
    linear, tau = OnlineMerge("linear", alpha=0.1), toy.task_vector()
    cases = [
        (lambda: OnlineMergeAdamW(list(parameters.values()), adamw), "must hold .name, tensor. pairs"),
        (lambda: OnlineMergeAdamW([], adamw), "named_parameters is empty"),
        (lambda: OnlineMergeAdamW(parameters.items(), adamw, lr=-1.0), "lr must be >= 0, got -1.0"),
        (lambda: OnlineMergeAdamW(parameters.items(), adamw, betas=(0.9, 1.0)), "betas must be"),
        (lambda: OnlineMergeAdamW(parameters.items(), adamw, eps=-1e-8), "eps must be >= 0"),
        (lambda: OnlineMergeAdamW(parameters.items(), adamw, weight_decay=-1), "weight_decay must be >= 0"),
        (lambda: OnlineMergeAdamW(parameters.items(), adamw, path="fast"), "path must be one of auto"),
        (lambda: OnlineMergeAdamW(parameters.items(), adamw, precision="bfloat16"), "precision must be one"),
        (lambda: OnlineMergeAdamW(parameters.items(), linear), "task_vector must be given"),
        (
            lambda: OnlineMergeAdamW(parameters.items(), linear, {**tau, "more": torch.zeros(1)}),
            "extra more",
        ),
        (
            lambda: OnlineMergeAdamW(parameters.items(), OnlineMerge("anchor", alpha=0.1), tau),
            "reference must be given",
        ),
        (
            lambda: OnlineMergeAdamW([*parameters.items(), ("module.body.bias", torch.zeros(2))], adamw),
            "body.bias is given twice",
        ),
        (
            lambda: OnlineMergeAdamW([("a", parameters["body.bias"]), ("b", parameters["body.bias"])], adamw),
            "already given under another name",
        ),
        (lambda: OnlineMergeAdamW([("w", torch.zeros(2, dtype=torch.float64))], adamw), "got torch.float64"),
    ]
    for build, message in cases:
        with pytest.raises(ValueError, match=message):
            build()
    optimizer = OnlineMergeAdamW(parameters.items(), adamw)
    with pytest.raises(ValueError, match="groups are fixed"):
        optimizer.add_param_group({"params": [("x", torch.zeros(1))]})
    resampled = OnlineMerge("ondare", semantics="equations", alpha=0.1, density=0.5)
    with pytest.raises(ValueError, match="lazy_tau needs a task vector part that keeps its direction"):
        OnlineMergeAdamW(parameters.items(), resampled, tau, precision="lazy_tau")
    with pytest.raises(ValueError, match="path compiled is not to be had: gap_steps > 1 has no kernel"):
        OnlineMergeAdamW(parameters.items(), OnlineMerge("linear", gap_steps=2), path="compiled")
    patterns = OnlineMerge("linear", alpha={"body.*": 0.1})
    with pytest.raises(ValueError, match="alpha must have a pattern for every parameter, got none for head.weight"):
        OnlineMergeAdamW(parameters.items(), patterns, tau)


def test_users_groups_are_left_as_they_were(toy) -> None:
    parameters = toy.parameters()
    group = {"params": parameters.items(), "weight_decay": 0.2}
    OnlineMergeAdamW([group], OnlineMerge("adamw"))
    assert set(group) == {"params", "weight_decay"}
