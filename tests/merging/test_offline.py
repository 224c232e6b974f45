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
    merged = merge(base, [one, two], "ties_sum", [0.5, 0.25], density=0.5)
    assert merged["w"].tolist() == [2.0, -1.5, -0.75, 0.0]
    assert merge(base, [one, two], "ties", [0.5, 0.25], density=0.5)["w"].tolist() == [4.0, -3.0, -3.0, 0.0]
    # all kept: terms [2, -1.5, 1, .5] and [.25, 1, -.75, .5]; signs +, -, +, +; the mean of x where both agree
    assert merge(base, [one, two], "ties_sum", [0.5, 0.25])["w"].tolist() == [2.25, -1.5, 1.0, 1.0]
    assert merge(base, [one, two], "ties", [0.5, 0.25])["w"].tolist() == [3.0, -3.0, 2.0, 1.3333333730697632]


def test_ties_has_what_models_agree_on_and_the_sum_grows_with_their_number() -> None:
    """The paper's mean: three copies of a model merge to that model, where the sum goes three times as far."""
    for weights in ([1.0, 1.0, 1.0], [0.3, 0.3, 0.3]):
        merged = merge(BASE, [POLICY] * 3, "ties", weights)
        assert all(torch.allclose(merged[name], POLICY[name], atol=1e-6) for name in BASE)
    thrice = merge(BASE, [POLICY] * 3, "ties_sum", [1.0] * 3)
    assert all(torch.allclose(thrice[name] - BASE[name], 3 * (POLICY[name] - BASE[name]), atol=1e-5) for name in BASE)


def as_the_paper_has_it(deltas: Tensor, kept: int) -> Tensor:
    """arXiv:2306.01708, algorithm 1, lambda = 1, of deltas [n, d]: trim, elect the sum's sign, mean of what agrees."""
    merged = []
    trimmed = [torch.where(d.abs() >= d.abs().sort().values[-kept], d, 0.0) for d in deltas]
    for entries in torch.stack(trimmed).T:
        agree = [x for x in entries if torch.sign(x) == torch.sign(entries.sum()) != 0]
        merged.append(sum(agree) / len(agree) if agree else 0.0)
    return torch.tensor(merged, dtype=deltas.dtype)


def as_mergekit_has_it(deltas: Tensor, weights: Tensor, kept: int) -> Tensor:
    """mergekit's `ties` with `normalize: true`, lambda = 1: magnitude pruning, weighted election, normalised sum."""
    sparse = torch.stack([torch.where(d.abs() >= d.abs().sort().values[-kept], d, 0.0) for d in deltas])
    weighted = sparse * weights[:, None]
    majority = torch.where(weighted.sum(dim=0) >= 0, 1.0, -1.0)
    mask = weighted.sign() == majority
    divisor = (weights[:, None] * mask).sum(dim=0)
    return (weighted * mask).sum(dim=0) / torch.where(divisor.abs() < 1e-8, 1.0, divisor)


@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
def test_ties_is_the_papers_at_equal_weights_and_mergekits_at_any(density: float) -> None:
    generator = torch.Generator().manual_seed(3)
    deltas = torch.randn(3, 40, generator=generator, dtype=torch.float64)
    base, models = {"w": torch.zeros(40, dtype=torch.float64)}, [{"w": delta} for delta in deltas]
    kept = round(density * 40)
    equal = merge(base, models, "ties", [1.0, 1.0, 1.0], density)["w"]
    torch.testing.assert_close(equal, as_the_paper_has_it(deltas, kept))
    for weights in ([0.5, 0.3, 0.2], [0.9, 0.1, 2.0]):
        merged = merge(base, models, "ties", weights, density)["w"]
        torch.testing.assert_close(merged, as_mergekit_has_it(deltas, torch.tensor(weights).double(), kept))
        assert not torch.allclose(merged, merge(base, models, "ties_sum", weights, density)["w"])


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
    with pytest.raises(
        ValueError, match="method must be one of linear, task_arithmetic, dare, ties, ties_sum, got 'slerp'"
    ):
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


@pytest.mark.parametrize(("method", "density"), [("linear", 1.0), ("dare", 0.5), ("ties", 0.5), ("ties_sum", 0.5)])
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
    with pytest.raises(ValueError, match=r"has no \*\.safetensors file"):
        merge(tmp_path, [POLICY], "linear", [1.0])


@pytest.mark.parametrize("folders", [True, False])
def test_inputs_that_are_not_finite_are_named_with_tensor_and_count(save: Save, folders: bool) -> None:
    bad = {**POLICY, "a": POLICY["a"].clone()}
    bad["a"][0, :2] = torch.nan
    base, policy = (save("base", BASE), save("policy", bad)) if folders else (BASE, bad)
    with pytest.raises(ValueError, match=r"(model 0|policy) holds 2 entries that are not finite.*: a \(2\)"):
        merge(base, [policy], "linear", [0.5], output=base.with_name("out") if isinstance(base, Path) else None)
    assert not (base.with_name("out").exists() if isinstance(base, Path) else False)


def test_numbers_beyond_float16_are_told_apart_from_such_inputs(save: Save) -> None:
    halves = {name: tensor.half() for name, tensor in BASE.items()}
    large = {**halves, "a": torch.full((6, 5), 60000.0).half()}
    base, policy = save("base", halves), save("policy", large)
    with pytest.raises(
        ValueError, match=r"30 merged entries of a overflow float16, .* 65504, and all inputs are finite"
    ):
        merge(base, [policy], "linear", [2.0], output=base.with_name("out"))
    assert sorted(path.name for path in base.parent.iterdir()) == ["base", "policy"]
