"""Task vectors by layer: closed form, natural order, mismatches."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omsweep.optim import task_vector_file
from omsweep.optim.task_vector_inspection import Difference, TensorSums, inspect_task_vector, layer_prefix


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.self_attn.q_proj.weight", "model.layers.3"),
        ("model.layers.12.mlp.experts.7.weight", "model.layers.12"),
        ("model.embed_tokens.weight", "model.embed_tokens.weight"),
        ("lm_head.weight", "lm_head.weight"),
        ("layers3.weight", "layers3.weight"),
    ],
)
def test_layers_by_name(name: str, layer: str) -> None:
    assert layer_prefix(name) == layer


@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
def test_by_hand(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(task_vector_file, "CHUNK_ENTRIES", chunk)
    base = {
        "m.10.w": torch.tensor([[3.0, 0.0], [4.0, 0.0]]),
        "m.2.a": torch.tensor([2.0]),
        "m.2.b": torch.zeros(3),
        "norm": torch.ones(2, dtype=torch.bfloat16),
    }
    moved = {"m.10.w": [[3.0, 3.0], [4.0, 4.0]], "m.2.a": [2.0], "m.2.b": [0.0, 2.0, 0.0], "norm": [1.0, 1.0]}
    sft = {name: torch.tensor(values) for name, values in moved.items()}
    found = inspect_task_vector(base, sft)
    assert list(found.layers) == ["m.2", "m.10", "norm"]
    assert found.layers["m.10"] == TensorSums(tensors=1, entries=4, tau_squares=25.0, base_squares=25.0, zeros=2)
    assert found.layers["m.2"] == TensorSums(tensors=2, entries=4, tau_squares=4.0, base_squares=4.0, zeros=3)
    whole = found.total
    assert (whole.tensors, whole.entries, whole.zeros) == (4, 10, 7)
    assert whole.tau_norm == pytest.approx(math.sqrt(29))
    assert whole.relative_norm == pytest.approx(math.sqrt(29 / 31))
    assert whole.tau_rms == pytest.approx(math.sqrt(2.9))
    assert whole.zero_share == pytest.approx(0.7)
    assert found.matches
    assert found.other_dtypes == (Difference(name="norm", in_base="bfloat16", in_sft="float32"),)


def test_mismatches_are_named_in_natural_order_and_not_measured() -> None:
    base = {"l.10.w": torch.zeros(1), "l.9.w": torch.zeros(1), "head": torch.zeros(2), "both": torch.zeros(1)}
    sft = {"head": torch.ones(2, 1), "both": torch.ones(1), "new": torch.zeros(1)}
    found = inspect_task_vector(base, sft)
    assert list(found.layers) == ["both"]
    assert found.only_in_base == ("l.9.w", "l.10.w")
    assert found.only_in_sft == ("new",)
    assert found.other_shapes == (Difference(name="head", in_base="(2,)", in_sft="(2, 1)"),)
    assert not found.matches


def test_integers_are_not_measured_but_must_be_there() -> None:
    base = {"w": torch.zeros(1), "ids": torch.arange(3)}
    assert inspect_task_vector(base, base).total.tensors == 1
    assert inspect_task_vector(base, base).matches
    assert not inspect_task_vector(base, {"w": torch.zeros(1)}).matches


def test_nothing_in_common_has_no_shares() -> None:
    whole = inspect_task_vector({"a": torch.ones(1)}, {"b": torch.ones(1)}).total
    assert whole.tau_norm == 0.0
    assert all(math.isnan(value) for value in (whole.relative_norm, whole.tau_rms, whole.zero_share))


def test_folders_give_what_tensors_give(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    pair = [{f"l.{i}.w": torch.randn(5, 3, generator=generator) for i in range(4)} for _ in range(2)]
    for which, tensors in zip(("base", "sft"), pair, strict=True):
        (tmp_path / which).mkdir()
        for name, tensor in tensors.items():
            save_file({name: tensor}, tmp_path / which / f"{name}.safetensors")
    seen: list[str] = []
    found = inspect_task_vector(tmp_path / "base", tmp_path / "sft", track=lambda names: seen.extend(names) or names)
    assert found == inspect_task_vector(*pair)
    assert seen == [f"l.{i}.w" for i in range(4)]
