"""Offline merging: closed form, tied tensors, folders."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from omsweep.merging import sources
from omsweep.merging.mixture import OFFLINE_METHODS
from omsweep.merging.offline import merge
from omsweep.merging.randomness import keep_random, mask_key
from omsweep.merging.safetensors_file import folder_hash

Save = Callable[..., Path]
GENERATOR = torch.Generator().manual_seed(0)


def state(shape: tuple[int, ...] = (6, 5)) -> dict[str, Tensor]:
    return {"a": torch.randn(shape, generator=GENERATOR), "b": torch.randn(4, generator=GENERATOR)}


BASE, POLICY, SFT = state(), state(), state()


@pytest.mark.parametrize("method", ["linear", "task_arithmetic"])
def test_linear_is_plain_interpolation_around_the_base(method: str) -> None:
    merged = merge(BASE, [POLICY, SFT], method, [0.3, 0.7])
    for name in BASE:
        torch.testing.assert_close(merged[name], 0.3 * POLICY[name] + 0.7 * SFT[name])


@pytest.mark.parametrize("method", OFFLINE_METHODS)
def test_one_model_of_weight_one_at_full_density_is_that_model(method: str) -> None:
    merged = merge(BASE, [POLICY], method, [1.0])
    assert all(torch.equal(merged[name], POLICY[name]) for name in BASE)


@pytest.mark.parametrize("method", OFFLINE_METHODS)
def test_weight_zero_is_the_base(method: str) -> None:
    merged = merge(BASE, [POLICY], method, [0.0])
    assert all(torch.equal(merged[name], BASE[name]) for name in BASE)


def test_dare_keeps_what_its_mask_says_and_rescales() -> None:
    merged = merge(BASE, [POLICY, SFT], "dare", [0.5, 0.25], density=0.4, seed=9)
    expected = BASE["a"].double().view(-1)
    for number, (model, weight) in enumerate([(POLICY, 0.5), (SFT, 0.25)]):
        keep = keep_random(30, 0.4, mask_key(9, number, "offline", "a"))
        delta = (model["a"].double() - BASE["a"].double()).view(-1)
        expected = expected + torch.where(keep, delta / 0.4, 0.0) * weight
    torch.testing.assert_close(merged["a"].view(-1), expected.float())


def test_ties_by_hand() -> None:
    base = {"w": torch.zeros(4)}
    one, two = {"w": torch.tensor([4.0, -3.0, 2.0, 1.0])}, {"w": torch.tensor([1.0, 4.0, -3.0, 2.0])}
    # top half: [4, -3, 0, 0] and [0, 4, -3, 0]; terms [2, -1.5, 0, 0] and [0, 1, -.75, 0]; signs +, -, -, 0
    merged = merge(base, [one, two], "ties", [0.5, 0.25], density=0.5)
    assert merged["w"].tolist() == [2.0, -1.5, -0.75, 0.0]


def test_tied_tensors_stay_tied_and_others_do_not_become_so() -> None:
    shared = torch.zeros(1000)
    base = {"embed": shared, "head": shared, "other": torch.zeros(1000)}
    moved = torch.ones(1000)
    model = {"embed": moved, "head": moved, "other": torch.ones(1000)}
    merged = merge(base, [model], "dare", [1.0], density=0.5)
    assert torch.equal(merged["embed"], merged["head"])
    assert not torch.equal(merged["embed"], merged["other"])


def test_dtype_of_the_base_is_kept_and_integers_pass() -> None:
    base = {"w": torch.zeros(3, dtype=torch.bfloat16), "ids": torch.arange(3)}
    model = {"w": torch.ones(3), "ids": torch.arange(3)}
    merged = merge(base, [model], "linear", [0.5])
    assert merged["w"].dtype == torch.bfloat16
    assert merged["w"].tolist() == [0.5, 0.5, 0.5]
    assert merged["ids"].tolist() == [0, 1, 2]
    for other in (torch.ones(3, dtype=torch.int64), torch.arange(3, dtype=torch.int32), torch.arange(3.0)):
        with pytest.raises(ValueError, match=r"ids is torch.int64 and differs"):
            merge(base, [{**model, "ids": other}], "linear", [0.5])


def test_tensors_that_are_not_contiguous_and_require_gradients_are_merged() -> None:
    base, model = {"w": torch.arange(6.0).view(2, 3).T}, {"w": torch.ones(3, 2, requires_grad=True)}
    merged = merge(base, [model], "linear", [0.5])["w"]
    assert torch.equal(merged, 0.5 * base["w"] + 0.5)
    assert not merged.requires_grad


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="method must be one of linear, task_arithmetic, dare, ties, got 'slerp'"):
        merge(BASE, [POLICY], "slerp", [1.0])
    with pytest.raises(ValueError, match="weights must be one per model"):
        merge(BASE, [POLICY, SFT], "linear", [1.0])
    with pytest.raises(ValueError, match="weights must be finite"):
        merge(BASE, [POLICY], "linear", [float("nan")])
    with pytest.raises(ValueError, match=r"density must be in \(0, 1\], got 1.5"):
        merge(BASE, [POLICY], "ties", [1.0], density=1.5)
    with pytest.raises(ValueError, match="method linear does not take density, got 0.5"):
        merge(BASE, [POLICY], "linear", [1.0], density=0.5)
    with pytest.raises(ValueError, match="missing b; extra none"):
        merge(BASE, [{"a": POLICY["a"]}], "linear", [1.0])
    with pytest.raises(ValueError, match=r"shapes, others at a \(2,\) instead of \(6, 5\)"):
        merge(BASE, [{**POLICY, "a": torch.zeros(2)}], "linear", [1.0])
    with pytest.raises(ValueError, match="output needs a base that is a folder"):
        merge(BASE, [POLICY], "linear", [1.0], output="never-made")


@pytest.mark.parametrize("method", OFFLINE_METHODS)
@pytest.mark.parametrize("entries", [1, 7, 30])
def test_pieces_of_any_size_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, method: str, entries: int) -> None:
    density = 1.0 if OFFLINE_METHODS[method].sparsifier == "all" else 0.4
    expected = merge(BASE, [POLICY, SFT, BASE], method, [0.6, 0.3, 0.1], density, 3)
    monkeypatch.setattr(sources, "PIECE_ENTRIES", entries)
    merged = merge(BASE, [POLICY, SFT, BASE], method, [0.6, 0.3, 0.1], density, 3)
    assert all(torch.equal(merged[name], expected[name]) for name in BASE)


def test_ties_among_magnitudes_keep_exactly_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    base, model = {"w": torch.zeros(1000)}, {"w": torch.ones(1000)}
    expected = merge(base, [model], "ties", [1.0], density=0.3)["w"]
    assert int(expected.sum()) == 300
    monkeypatch.setattr(sources, "PIECE_ENTRIES", 64)
    assert torch.equal(merge(base, [model], "ties", [1.0], density=0.3)["w"], expected)


@pytest.mark.parametrize(("method", "density"), [("linear", 1.0), ("dare", 0.5), ("ties", 0.5)])
def test_folders_give_what_state_dicts_give(tmp_path: Path, save: Save, method: str, density: float) -> None:
    base = save("base", BASE, config="{}")
    policy = save("policy", POLICY, files=2, config='{"policy": 1}')
    sft = save("sft", SFT, files=2)
    expected = merge(BASE, [POLICY, SFT], method, [0.6, 0.4], density, 5)
    read = merge(base, [policy, SFT], method, [0.6, 0.4], density, 5)
    assert all(torch.equal(read[name], expected[name]) for name in expected)
    output = tmp_path / "merged"
    assert merge(str(base), [policy, sft], method, [0.6, 0.4], density, 5, output=output) == {}
    assert sorted(path.name for path in output.iterdir()) == ["config.json", "merge.json", "model-0.safetensors"]
    written = load_file(output / "model-0.safetensors")
    assert all(torch.equal(written[name], expected[name]) for name in expected)
    assert (output / "config.json").read_text() == '{"policy": 1}'
    record = json.loads((output / "merge.json").read_text())
    assert {name: record[name] for name in ("method", "weights", "density", "seed")} == {
        "method": method,
        "weights": [0.6, 0.4],
        "density": density,
        "seed": 5,
    }
    assert record["inputs"]["model 0"] == {"path": str(policy), "weights_hash": folder_hash(policy)}
    with pytest.raises(ValueError, match="output must be a new or empty folder"):
        merge(base, [policy, sft], method, [0.6, 0.4], density, output=output)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a folder with safetensors files"):
        merge(tmp_path, [POLICY], "linear", [1.0])
