"""Post-hoc points: every row of the table equals its formula, and what is out of range is named."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from omsweep.merging import sources
from omsweep.merging.offline import merge_point
from omsweep.merging.posthoc import POSTHOC_METHODS, PosthocPoint, posthoc_points
from omsweep.merging.randomness import keep_random, mask_key

Save = Callable[..., Path]

NAMES = {
    "model.embed_tokens.weight": (11, 4),
    **{f"model.layers.{layer}.mlp.up_proj.weight": (5, 7) for layer in range(3)},
    "model.norm.weight": (4,),
}
PARTS = {"*.layers.1.*": 0.25, "input": 0.5, "*": 1.0}
PART_OF = {
    name: 0.25 if ".1." in name else 1.0 if name.endswith(("norm.weight", "2.mlp.up_proj.weight")) else 0.5
    for name in NAMES
}


def models(dtype: torch.dtype = torch.float64) -> dict[str, dict[str, Tensor]]:
    """Three unrelated random models; the same every time."""
    generator = torch.Generator().manual_seed(0)
    return {
        model: {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in NAMES.items()}
        for model in ("base", "sft", "policy")
    }


def random_part(x: Tensor, number: int, name: str, point: PosthocPoint) -> Tensor:
    keep = keep_random(x.numel(), point.density, mask_key(point.seed, number, "offline", name)).view(x.shape)
    return torch.where(keep, x / point.density, 0.0)


def largest_part(x: Tensor, point: PosthocPoint) -> Tensor:
    kept = max(1, round(point.density * x.numel()))
    return torch.where(x.abs() >= x.abs().flatten().sort(descending=True).values[kept - 1], x, 0.0)


def agreeing_sum(u: Tensor, v: Tensor) -> Tensor:
    """The sum of what has the sign of the sum, case by case."""
    same, larger = u * v >= 0, torch.where(u.abs() > v.abs(), u, v)
    return torch.where(same, u + v, torch.where(u + v == 0, 0.0, larger))


def agreeing_mean(x: Tensor, y: Tensor, w: float) -> Tensor:
    """The weighted mean of x and y where their signs agree, else what has the sign of w x + (1 - w) y."""
    u, v = w * x, (1 - w) * y
    one = torch.where(u.abs() > v.abs(), x, torch.where(v.abs() > u.abs(), y, 0.0))
    return torch.where(u * v > 0, u + v, one)


def formula(point: PosthocPoint, base: Tensor, sft: Tensor, policy: Tensor, name: str) -> Tensor:
    """The tensor of a point, written out from the method's text."""
    w: Any = point.weight
    match point.method:
        case "linear" | "task_arithmetic":
            return w * policy + (1 - w) * sft
        case "layerwise":
            return PART_OF[name] * policy + (1 - PART_OF[name]) * sft
        case "dare":
            first, second = random_part(policy - base, 0, name, point), random_part(sft - base, 1, name, point)
            return base + w * first + (1 - w) * second
        case "ties":
            first, second = largest_part(policy - base, point), largest_part(sft - base, point)
            return base + agreeing_mean(first, second, w)
        case "ties_sum":
            first, second = largest_part(policy - base, point), largest_part(sft - base, point)
            return base + agreeing_sum(w * first, (1 - w) * second)
        case "expo":
            return policy + w * (policy - sft)
        case "tau_shift":
            return policy + w * (sft - base)
    raise AssertionError(f"no formula for {point.method}")


def point_of(method: str) -> PosthocPoint:
    row = POSTHOC_METHODS[method]
    return PosthocPoint(method=method, weight=PARTS if row.by_name else 0.3, density=0.4 if row.sparse else 1.0, seed=5)


def used(point: PosthocPoint, given: Mapping[str, Any]) -> dict[str, Any]:
    """Only what the point needs."""
    return {model: given[model] for model in point.row.models}


@pytest.mark.parametrize("method", POSTHOC_METHODS)
def test_a_point_is_its_formula(method: str) -> None:
    point, given = point_of(method), models()
    merged = merge_point(point, used(point, given))
    assert list(merged) == list(NAMES)
    for name in NAMES:
        expected = formula(point, *(given[model][name] for model in ("base", "sft", "policy")), name)
        torch.testing.assert_close(merged[name], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("method", POSTHOC_METHODS)
def test_from_folder_to_folder_equals_in_memory_bit_for_bit(
    tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch, method: str, files: int, dtype: torch.dtype
) -> None:
    point, given = point_of(method), models(dtype)
    expected = merge_point(point, used(point, given))
    counts = {"base": 2, "sft": 1, "policy": files}  # shards of the inputs need not agree
    folders = {model: save(model, tensors, files=counts[model]) for model, tensors in given.items()}
    monkeypatch.setattr(sources, "PIECE_ENTRIES", 8)
    assert merge_point(point, used(point, folders), output=tmp_path / "out") == {}
    written = [load_file(file) for file in sorted((tmp_path / "out").glob("*.safetensors"))]
    policy = [load_file(file) for file in sorted(folders["policy"].glob("*.safetensors"))]
    assert [set(tensors) for tensors in written] == [set(tensors) for tensors in policy]
    for tensors in written:
        for name, tensor in tensors.items():
            assert tensor.dtype == dtype
            assert torch.equal(tensor, expected[name]), name


def test_the_policys_dtype_is_the_results() -> None:
    given = models(torch.bfloat16) | {"policy": models(torch.float32)["policy"]}
    merged = merge_point(PosthocPoint(method="linear", weight=1.0), given)
    assert all(torch.equal(merged[name], given["policy"][name]) for name in NAMES)


def test_ends_of_the_scales_are_the_models_themselves() -> None:
    given = models(torch.float32)
    for method, weight, model in (
        ("linear", 1, "policy"),
        ("linear", 0, "sft"),
        ("expo", 0, "policy"),
        ("tau_shift", 0, "policy"),
    ):
        merged = merge_point(PosthocPoint(method=method, weight=weight), given)
        assert all(torch.equal(merged[name], given[model][name]) for name in NAMES)


def test_a_grid_has_each_point_once_and_in_order() -> None:
    grid = posthoc_points("dare", weights=(0.1, 0.3, 0.5, 0.7, 0.9), densities=(0.3, 0.5, 0.7), seeds=(0, 1))
    assert len(grid) == 30
    assert [(point.weight, point.density, point.seed) for point in grid[:3]] == [
        (0.1, 0.3, 0),
        (0.1, 0.3, 1),
        (0.1, 0.5, 0),
    ]
    travel = 0.03
    assert [point.weight for point in posthoc_points("tau_shift", weights=[0.01, 0.03, travel])] == [0.01, 0.03]
    assert len(posthoc_points("layerwise", weights=[PARTS, dict(PARTS)])) == 1


@pytest.mark.parametrize("method", POSTHOC_METHODS)
def test_points_are_plain_data_and_come_back(method: str) -> None:
    point = point_of(method)
    data = json.loads(json.dumps(point.as_data()))
    assert PosthocPoint(**{"density": point.density, "seed": point.seed, **data}) == point
    assert set(data) - {"method", "weight"} == (
        {"density", "seed"} if method in ("dare", "ties", "ties_sum") else set()
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "slerp", "weight": 0.5}, "method must be one of linear, task_arithmetic, dare, .*, got 'slerp'"),
        ({"method": "linear", "weight": 1.5}, r"weight of linear must be in \[0, 1\], got 1.5"),
        ({"method": "linear", "weight": True}, r"weight of linear must be in \[0, 1\], got True"),
        ({"method": "linear", "weight": {"*": 0.5}}, r"weight of linear must be one number in \[0, 1\]"),
        ({"method": "expo", "weight": -0.1}, "weight of expo must be finite and >= 0, got -0.1"),
        ({"method": "tau_shift", "weight": float("inf")}, "weight of tau_shift must be finite, got inf"),
        ({"method": "layerwise", "weight": 0.5}, "weight of layerwise must go by part: input, middle, output or globs"),
        (
            {"method": "layerwise", "weight": (("input", 0.2), ("input", 0.9), ("*", 1.0))},
            "weight of layerwise must have each part once, got 'input' twice",
        ),
        ({"method": "layerwise", "weight": {}}, "weight of layerwise must go by part"),
        ({"method": "layerwise", "weight": {"input": 2}}, r"weight of layerwise must be in \[0, 1\], got 2"),
        ({"method": "dare", "weight": 0.5, "density": 0}, r"density must be in \(0, 1\], got 0"),
        (
            {"method": "linear", "weight": 0.5, "density": 0.5},
            r"linear does not take density \(dare, ties, ties_sum do\), got 0.5",
        ),
        ({"method": "dare", "weight": 0.5, "seed": -1}, "seed must be a whole number >= 0, got -1"),
    ],
)
def test_what_is_out_of_range_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PosthocPoint(**settings)


def test_models_that_are_missing_are_named() -> None:
    given = models()
    with pytest.raises(ValueError, match="method tau_shift needs base, sft, policy, missing base"):
        merge_point(PosthocPoint(method="tau_shift", weight=0.5), {"sft": given["sft"], "policy": given["policy"]})
    with pytest.raises(ValueError, match="output needs a policy that is a folder of safetensors files"):
        merge_point(PosthocPoint(method="linear", weight=0.5), given, output="never-made")
