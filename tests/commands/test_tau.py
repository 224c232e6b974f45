"""`omsweep tau inspect`: what it prints, and its exit codes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from omsweep.cli import main
from omsweep.commands.tau import mismatch_lines
from omsweep.families.tiny.architecture import random_family
from omsweep.optim.task_vector_inspection import Difference, Inspection, TensorSums


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """An SFT model whose second layer moved by 1 everywhere and whose embedding moved in one entry."""
    base, sft = (random_family(tmp_path / which, "llama", hidden_size=32, intermediate_size=32) for which in ("b", "s"))
    tensors = load_file(sft / "model.safetensors")
    for name in tensors:
        if name.startswith("model.layers.1."):
            tensors[name] += 1.0
    tensors["model.embed_tokens.weight"][0, 0] += 2.0
    save_file(tensors, sft / "model.safetensors", metadata={"format": "pt"})
    return base, sft


def edit(folder: Path, *, drop: str | None = None, **changes: torch.Tensor) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if name != drop} | changes
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def rows(text: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for words in map(str.split, text.splitlines()) if words}


def test_the_table_by_layer(models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tau", "inspect", *map(str, models)]) == 0
    table = rows(capsys.readouterr().out)
    assert table["model.layers.0"][2:] == ["0", "0", "0", "1"]
    tensors, entries, norm, _, rms, zeros = table["model.layers.1"]
    assert (tensors, rms, zeros) == ("9", "1", "0")
    assert float(norm) == pytest.approx(int(entries.replace(",", "")) ** 0.5, rel=0.01)
    assert table["model.embed_tokens.weight"][2] == "2"
    assert table["total"][0] == "21"
    assert table["match:"] == ["the", "same", "names", "and", "shapes"]


def test_the_same_as_json(models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tau", "inspect", *map(str, models), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["base"], found["sft"], found["base_revision"], found["matches"]) == (*map(str, models), None, True)
    assert [each["layer"] for each in found["layers"]] == [
        *("lm_head.weight", "model.embed_tokens.weight", "model.layers.0", "model.layers.1", "model.norm.weight")
    ]
    second = found["layers"][3]
    assert second["tau_norm"] == pytest.approx(second["entries"] ** 0.5, rel=1e-6)
    assert found["total"]["entries"] == sum(each["entries"] for each in found["layers"])
    assert found["total"]["zero_share"] == pytest.approx(1 - (second["entries"] + 1) / found["total"]["entries"])


def test_mismatches_are_named_and_exit_with_1(models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    base, sft = models
    edit(base, drop="lm_head.weight")
    edit(sft, **{"model.norm.weight": torch.ones(3)})
    assert main(["tau", "inspect", str(base), str(sft)]) == 1
    text = capsys.readouterr().out
    assert "only in SFT (1): lm_head.weight\n" in text
    assert "other shapes (1): model.norm.weight (32,) and (3,)\n" in text
    assert "mismatch: names or shapes differ" in text
    assert main(["tau", "inspect", str(sft), str(base), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["matches"] is False
    assert found["only_in_base"] == ["lm_head.weight"]
    assert found["other_shapes"] == [{"name": "model.norm.weight", "base": "(3,)", "sft": "(32,)"}]


def test_entries_that_are_not_finite_are_counted_and_exit_with_1(
    models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    edit(models[1], **{"model.norm.weight": torch.tensor([torch.nan, torch.inf, *[1.0] * 30])})
    assert main(["tau", "inspect", *map(str, models)]) == 1
    assert "not finite (NaN or inf) in sft: 2 entries: model.norm.weight (2)" in capsys.readouterr().out
    assert main(["tau", "inspect", *map(str, models), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["non_finite"] == {"sft": {"model.norm.weight": 2}}
    assert found["total"]["tau_norm"] is None


def test_other_dtypes_are_named_and_match(models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    edit(models[1], **{"model.norm.weight": torch.ones(32, dtype=torch.bfloat16)})
    assert main(["tau", "inspect", *map(str, models)]) == 0
    assert "other dtypes (1): model.norm.weight float32 and bfloat16\n" in capsys.readouterr().out


def test_nothing_in_common_is_null_in_json(models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (models[1] / "model.safetensors").unlink()
    save_file({"other": torch.ones(1)}, models[1] / "model.safetensors")
    assert main(["tau", "inspect", *map(str, models), "--json"]) == 1
    total = json.loads(capsys.readouterr().out)["total"]
    assert (total["entries"], total["relative_norm"], total["zero_share"]) == (0, None, None)


def test_bad_paths_are_one_line_and_exit_with_2(
    models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, sft = models
    (sft / "model.safetensors").write_bytes(b"nonsense")
    (tmp_path / "empty").mkdir()
    for wrong, said in [
        (tmp_path / "missing", "is neither a folder that exists nor a hub id"),
        (tmp_path / "empty", "is no Hugging Face model folder: it has no config.json"),
        (sft, "model.safetensors cannot be read as a safetensors file"),
    ]:
        assert main(["tau", "inspect", str(base), str(wrong)]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.startswith("omsweep: ")
        assert len(error.splitlines()) == 1


def test_long_lists_of_mismatches_are_cut_and_names_are_no_markup() -> None:
    many = tuple(f"[bold]{i}" for i in range(8))
    inspection = Inspection(
        layers={"a": TensorSums()},
        only_in_base=many,
        only_in_sft=(),
        other_shapes=(),
        other_dtypes=(Difference(name="a", in_base="float32", in_sft="bfloat16"),),
    )
    first, second, last = mismatch_lines(inspection)
    assert first.startswith(r"[yellow]only in base[/] (8): \[bold]0, ")
    assert first.endswith("and 3 more")
    assert second.endswith("a float32 and bfloat16")
    assert last.startswith("[red]mismatch")
