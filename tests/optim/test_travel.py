"""Travel along tau in advance, against schedulers and against runs."""

import math

import pytest
import torch

from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.travel import LR_SCHEDULES, alpha_for_travel, expected_tau_travel, lr_multiplier


def test_closed_forms() -> None:
    def travel(**knobs) -> float:
        return expected_tau_travel(0.01, steps=100, **knobs)

    assert travel(method="linear") == pytest.approx(1.0)
    assert travel(method="linear", gap_steps=30) == pytest.approx(0.03)
    assert travel(method="ondare", semantics="equations", density=0.25) == pytest.approx(0.25)
    free = {"method": "ondare", "semantics": "released", "clip": math.inf}
    assert travel(**free, density=0.25) == pytest.approx(1.0)
    assert travel(**free, density=0.25, rescale="none") == pytest.approx(0.25)
    warm = {"lr_scheduler": "constant_with_warmup", "warmup_steps": 10}
    assert travel(method="linear", **warm) == pytest.approx(0.99)  # no merge at step 1, where the rate is 0
    assert travel(method="linear", alpha_schedule="follow_lr", **warm) == pytest.approx(0.01 * (4.5 + 90))
    decay = {"lr_scheduler": "linear", "alpha_schedule": "follow_lr"}
    assert travel(method="linear", **decay) == pytest.approx(0.01 * 50.5)


def test_alpha_for_travel_inverts_it() -> None:
    knobs = {
        "method": "ondare",
        "semantics": "equations",
        "density": 0.3,
        "steps": 57,
        "gap_steps": 4,
        "warmup_steps": 5,
        "lr_scheduler": "cosine",
        "alpha_schedule": "follow_lr",
    }
    alpha = alpha_for_travel(0.02, **knobs)
    assert expected_tau_travel(alpha, **knobs) == pytest.approx(0.02)


def test_mistakes_are_named() -> None:
    linear = {"method": "linear", "steps": 10}
    with pytest.raises(ValueError, match=r"tau_travel 20 needs alpha 2, and alpha must be in \[0, 1\]"):
        alpha_for_travel(20, **linear)
    with pytest.raises(ValueError, match="linear and ondare only, got 'onties'"):
        alpha_for_travel(0.1, method="onties", semantics="equations", steps=10)
    with pytest.raises(ValueError, match="no merge in 10 steps with gap_steps 11"):
        alpha_for_travel(0.1, gap_steps=11, **linear)
    with pytest.raises(ValueError, match="tau_travel must be > 0"):
        alpha_for_travel(0.0, **linear)
    with pytest.raises(ValueError, match="method ondare needs semantics"):
        alpha_for_travel(0.1, method="ondare", steps=10)
    with pytest.raises(ValueError, match=r"where tau is clamped \(clip 1\): it depends on how large"):
        expected_tau_travel(0.1, method="ondare", semantics="released", density=1e-3, steps=10)
    with pytest.raises(ValueError, match="lr_scheduler must be one of constant"):
        alpha_for_travel(0.1, lr_scheduler="step", **linear)
    with pytest.raises(ValueError, match=r"density must be in \(0, 1\], got 2"):
        alpha_for_travel(0.1, method="ondare", semantics="equations", density=2, steps=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", LR_SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 3])
def test_multipliers_are_those_of_transformers(name: str, warmup: int) -> None:
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=12)
    found = []
    for _ in range(12):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert [lr_multiplier(name, steps=12, warmup_steps=warmup)(done) for done in range(12)] == pytest.approx(found)


@pytest.mark.parametrize("semantics", ["equations", "released"])
@pytest.mark.parametrize("k", [1, 3])
def test_a_run_travels_what_was_expected(semantics: str, k: int) -> None:
    steps, axes = 30, {"semantics": semantics, "density": 0.4, "gap_steps": k, "clip": math.inf}
    alpha = alpha_for_travel(0.1, method="ondare", steps=steps, warmup_steps=0, **axes)
    generator = torch.Generator().manual_seed(0)
    weights = {f"w{i}": torch.nn.Parameter(torch.zeros(100, 50)) for i in range(10)}
    tau = {name: 0.05 * torch.randn(100, 50, generator=generator) for name in weights}
    merge = OnlineMerge("ondare", alpha=alpha, **axes)
    optimizer = OnlineMergeAdamW(weights.items(), merge, tau, lr=1e-3)
    for _ in range(steps):
        for parameter in weights.values():
            parameter.grad = torch.randn(100, 50, generator=generator)
        optimizer.step()
    found = optimizer.diagnostics()
    drawn_once = 0.03 if semantics == "released" else 0.0  # one mask of 50,000 entries
    assert abs(found["tau_travel"] - 0.1) <= 0.1 * drawn_once + 3 * found["tau_travel_se"]
    assert found["tau_travel_se"] < 0.002
