"""Diagnostics against closed forms and against full sums."""

import math

import pytest
import torch
from torch import nn

from omsweep.merging.split import split
from omsweep.optim import diagnostics
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge
from omsweep.trial.split import merge_active, with_displacement

KEYS = {
    "tau_travel",
    "tau_travel_se",
    "election_dropped_share",
    "displacement_se",
    "merged_norm",
    "merge_ratio",
    "retained_share",
    "displacement",
    "tau_zero_share",
    "lost_update_share",
    "merged_share",
}


def norm(tensors: dict[str, torch.Tensor]) -> float:
    return math.sqrt(sum(float(value.double().square().sum()) for value in tensors.values()))


def test_linear_in_closed_form(toy) -> None:
    parameters, tau, start = toy.parameters(), toy.task_vector(), toy.tensors(0)
    optimizer = OnlineMergeAdamW(parameters.items(), OnlineMerge("linear", alpha=0.01), tau, lr=1e-4)
    steps, ratios = 5, []
    for step in range(1, steps + 1):
        toy.run(optimizer, parameters, range(step, step + 1))
        ratios.append(0.01 * norm(tau) / (0.99 * norm(optimizer.updates())))
    found = optimizer.diagnostics()
    moved = norm({name: value.detach() - start[name] for name, value in parameters.items()})
    zeros = sum(int((value == 0).sum()) for value in tau.values())
    assert set(found) == KEYS
    assert found["tau_travel"] == pytest.approx(0.05)
    assert found["merge_ratio"] == pytest.approx(sum(ratios) / steps)
    assert found["retained_share"] == 1.0
    assert found["displacement"] == pytest.approx(moved)
    assert found["tau_zero_share"] == zeros / sum(value.numel() for value in tau.values())
    assert found["lost_update_share"] == pytest.approx(0.0, abs=1e-3)
    assert found["merged_share"] == pytest.approx(steps * 0.01 * norm(tau) / moved, rel=1e-3)


def test_onties_counts_only_what_consensus_lets_through(toy) -> None:
    """One step of tied updates: |S(delta)|_1 / |delta|_1 is k / n; tau's part is what the signs keep."""
    parameters, tau = toy.parameters(), toy.task_vector()
    merge = OnlineMerge("onties", semantics="equations", alpha=0.02, density=0.5)
    optimizer = OnlineMergeAdamW(parameters.items(), merge, tau, lr=0.02)
    toy.run(optimizer, parameters, range(1, 2))
    found, kept = optimizer.diagnostics(), round(17.5) + round(2.5) + 12
    assert found["retained_share"] == pytest.approx(kept / 64, rel=1e-6)
    assert 0 < found["tau_travel"] < 0.02


def test_adamw_merges_nothing(toy) -> None:
    parameters = toy.parameters()
    optimizer = OnlineMergeAdamW(parameters.items(), OnlineMerge("adamw"))
    toy.run(optimizer, parameters, range(1, 4))
    found = optimizer.diagnostics()
    assert (found["tau_travel"], found["merge_ratio"], found["merged_share"]) == (0.0, 0.0, 0.0)
    assert found["retained_share"] == 1.0
    assert math.isnan(found["tau_zero_share"])
    assert found["lost_update_share"] == pytest.approx(0.0, abs=1e-3)


def test_before_any_step_nothing_is_measured(toy) -> None:
    optimizer = OnlineMergeAdamW(toy.parameters().items(), OnlineMerge("adamw"), toy.task_vector())
    found = optimizer.diagnostics()
    assert found["displacement"] == found["tau_travel"] == found["merged_share"] == 0.0
    assert math.isnan(found["merge_ratio"])
    assert math.isnan(found["retained_share"])
    assert found["tau_zero_share"] == 5 / 64


@pytest.mark.parametrize("steps", [1, 3])
def test_an_anchor_pull_is_what_is_merged_in(toy, steps: int) -> None:
    parameters, target = toy.parameters(), toy.tensors(5)
    optimizer = OnlineMergeAdamW(parameters.items(), OnlineMerge("anchor", alpha=1.0), reference=target, lr=0.02)
    toy.run(optimizer, parameters, range(1, steps + 1))
    found = optimizer.diagnostics()
    assert found["displacement"] == pytest.approx(
        norm({name: target[name] - value for name, value in toy.tensors(0).items()}), rel=1e-5
    )
    assert found["merged_share"] == pytest.approx(1.0, rel=0.2)
    assert found["tau_travel"] == 0.0


def weights_and_gradient(dtype: torch.dtype, count: int = 40_000) -> tuple[nn.Parameter, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter((0.02 * torch.randn(count, generator=generator)).to(dtype))
    return weight, torch.randn(count, generator=generator).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "alpha", "low", "high"),
    [
        (torch.float32, 0.0, -0.01, 0.01),  # AdamW at 1e-6: float32 keeps it
        (torch.bfloat16, 0.0, 0.7, 1.0),  # bfloat16 loses nearly all of it
        (torch.float32, 1e-3, -0.05, 0.05),
        (torch.bfloat16, 1e-5, 0.7, 1.01),  # alpha * tau = 1e-7
    ],
)
@pytest.mark.filterwarnings("ignore:1 parameters are torch.bfloat16")
def test_lost_update_share_is_what_rounding_swallowed(
    dtype: torch.dtype, alpha: float, low: float, high: float
) -> None:
    weight, gradient = weights_and_gradient(dtype)
    tau = {"w": 0.01 * torch.ones(weight.numel())}
    optimizer = OnlineMergeAdamW([("w", weight)], OnlineMerge("linear", alpha=alpha), tau, lr=1e-6, precision="nearest")
    for _ in range(5):
        weight.grad = gradient
        optimizer.step()
    assert low <= optimizer.diagnostics()["lost_update_share"] <= high


def test_what_rounding_swallowed_is_not_credited_to_merging() -> None:
    """alpha * tau = 1e-8 at weights of 1, where float32 steps are 1e-7; other entries move by their gradient alone."""
    weight, gradient, tau = nn.Parameter(torch.ones(100)), torch.zeros(100), 0.01 * torch.ones(100)
    gradient[:50], tau[:50] = 1.0, 0.0
    optimizer = OnlineMergeAdamW(
        [("w", weight)], OnlineMerge("linear", alpha=1e-6), {"w": tau}, lr=1e-6, precision="nearest"
    )
    for _ in range(3):
        weight.grad = gradient
        optimizer.step()
    found = optimizer.diagnostics()
    assert found["displacement"] > 0
    assert found["lost_update_share"] == 1.0
    assert found["merged_share"] == 0.0


@pytest.mark.parametrize("method", ["ondare", "onties"])
def test_a_sample_estimates_the_full_sums(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for size in (diagnostics.SAMPLE_ENTRIES, 10**9):
        monkeypatch.setattr(diagnostics, "SAMPLE_ENTRIES", size)
        generator = torch.Generator().manual_seed(0)
        shapes = {"a": 30_000, "b": 5_000, "c": 100}
        parameters = {name: nn.Parameter(torch.randn(n, generator=generator)) for name, n in shapes.items()}
        tau = {name: 0.01 * torch.randn(n, generator=generator) for name, n in shapes.items()}
        merge = OnlineMerge(method, semantics="equations", alpha=0.05, density=0.5, gap_steps=2)
        optimizer = OnlineMergeAdamW(parameters.items(), merge, tau, lr=1e-3)
        for _ in range(10):
            for parameter in parameters.values():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()
        found.append(optimizer.diagnostics())
    for key in KEYS - {"tau_zero_share", "lost_update_share", "tau_travel_se", "displacement_se"}:
        assert found[0][key] == pytest.approx(found[1][key], rel=0.1), key


def low_density_run(merge: OnlineMerge, *, lr: float, steps: int) -> tuple[dict, tuple]:
    """Diagnostics and the split of a run over 600,000 entries, of which few are watched."""
    generator = torch.Generator().manual_seed(0)
    start = {f"w{i}": 0.02 * torch.randn(200_000, generator=generator) for i in range(3)}
    tau = {name: 1e-3 * torch.randn(200_000, generator=generator) for name in start}
    parameters = {name: nn.Parameter(value.clone()) for name, value in start.items()}
    optimizer = OnlineMergeAdamW(parameters.items(), merge, tau, lr=lr, precision="nearest", path="plain")
    for _ in range(steps):
        for parameter in parameters.values():
            parameter.grad = torch.randn(200_000, generator=generator)
        optimizer.step()
    return optimizer.diagnostics(), split(parameters, start, tau)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("density", [5e-4, 1e-5])
def test_a_fixed_mask_of_few_entries_is_seen(density: float, seed: int) -> None:
    """Released OnDARE that does nothing but merge: the clamp binds, and among sampled entries hardly one was kept."""
    merge = OnlineMerge("ondare", semantics="released", alpha=2e-3, density=density, seed=seed)
    found, exact = low_density_run(merge, lr=1e-30, steps=20)
    assert found["tau_travel"] == pytest.approx(exact.travel, rel=0.02)
    assert found["tau_travel_se"] <= 0.02 * found["tau_travel"]
    assert found["merged_norm"] == pytest.approx(exact.displacement, rel=0.02)
    assert found["displacement"] == pytest.approx(exact.displacement, rel=0.02)
    assert found["merged_share"] == pytest.approx(1.0, rel=0.05)
    assert merge_active(found)


@pytest.mark.parametrize("semantics", ["equations", "released"])
def test_updates_of_which_masks_leave_hardly_one_are_part_of_the_way(semantics: str) -> None:
    """At density 1e-5 no watched entry need have moved, and the few that did went far."""
    merge = OnlineMerge("ondare", semantics=semantics, alpha=1e-4, density=1e-5)
    found, exact = low_density_run(merge, lr=3e-4, steps=40)
    assert found["displacement"] == pytest.approx(exact.displacement, rel=0.15)  # 240 entries moved
    assert merge_active(found) is merge_active(with_displacement(found, exact.displacement))


def test_largest_updates_that_hardly_one_watched_entry_had_leave_the_way_unknown() -> None:
    found, _ = low_density_run(OnlineMerge("onties", semantics="equations", alpha=1e-3, density=5e-4), lr=1e-3, steps=3)
    assert math.isnan(found["displacement"])
    assert merge_active(found) is None


@pytest.mark.parametrize("density", [0.05, 5e-4])
def test_masks_drawn_anew_are_averaged_over(density: float) -> None:
    found, exact = low_density_run(
        OnlineMerge("ondare", semantics="equations", alpha=0.1, density=density), lr=1e-30, steps=30
    )
    assert abs(found["tau_travel"] - exact.travel) <= 3 * found["tau_travel_se"]
    assert found["tau_travel"] == pytest.approx(30 * 0.1 * density, rel=1e-6)
    assert found["merged_norm"] == pytest.approx(exact.displacement, rel=0.05)
    assert merge_active(found)


@pytest.mark.parametrize("elect", ["unweighted", "weighted"])
def test_what_the_election_drops_is_credited_to_merging(elect: str) -> None:
    """At alpha 1e-7 tau adds nothing; unweighted, its signs still drop half of the updates that it meets."""
    merge = OnlineMerge("onties", semantics="equations", alpha=1e-7, density=0.2, elect=elect)
    found, _ = low_density_run(merge, lr=1e-3, steps=3)
    dropped = 0.1 if elect == "unweighted" else 0.0
    assert found["merged_share"] < 1e-3
    assert found["election_dropped_share"] == pytest.approx(dropped, abs=0.02)
    assert merge_active(found) is (elect == "unweighted")


def test_what_is_not_known_credits_nothing_and_denies_nothing() -> None:
    none = {"merged_share": 0.001, "election_dropped_share": 0.0}
    assert merge_active(none) is False
    assert merge_active(none | {"merged_share": 0.01}) is True
    assert merge_active(none | {"election_dropped_share": 0.01}) is True
    assert merge_active(none | {"merged_share": math.nan}) is None
    assert merge_active({}) is None


def test_the_exact_displacement_replaces_the_sampled_one() -> None:
    sampled = {"displacement": 2.0, "displacement_se": 1.0, "merged_norm": 1.0, "merged_share": 0.5}
    assert with_displacement(sampled, 4.0) == {"displacement": 4.0, "merged_norm": 1.0, "merged_share": 0.25}
    assert with_displacement({"displacement": 2.0}, 4.0) == {"displacement": 4.0, "merged_share": None}
