"""Folders that merges write: complete or not there, with all that belongs to a model."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from omsweep.merging.offline import merge_point
from omsweep.merging.posthoc import PosthocPoint

Save = Callable[..., Path]
HALF = PosthocPoint(method="linear", weight=0.5)


@pytest.fixture
def given(save: Save) -> dict[str, Path]:
    tensors = {name: torch.arange(6.0).view(2, 3) for name in ("a", "b", "c")}
    return {"policy": save("policy", tensors, files=2), "sft": save("sft", tensors)}


def test_what_belongs_to_a_model_is_carried_over(tmp_path: Path, given: dict[str, Path]) -> None:
    wanted = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "merges.txt"]
    wanted += ["tokenizer.model", "chat_template.jinja", "additional_chat_templates/tool_use.jinja"]
    unwanted = [
        "merge.json",
        "manifest.json",
        "trainer_state.json",
        "README.md",
        "optimizer.pt",
        "pytorch_model.bin.index.json",
    ]
    (given["policy"] / "additional_chat_templates").mkdir()
    for name in wanted + unwanted:
        (given["policy"] / name).write_text(f"this is {name}")
    (given["sft"] / "special_tokens_map.json").write_text("of another tokenizer")
    merge_point(HALF, given, output=tmp_path / "out")
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    weights = {"model-0.safetensors", "model-1.safetensors", "model.safetensors.index.json"}
    assert written == {*wanted, *weights, "merge.json"}
    assert all((tmp_path / "out" / name).read_text() == f"this is {name}" for name in wanted)


def test_the_index_says_where_tensors_lie(tmp_path: Path, given: dict[str, Path]) -> None:
    (given["policy"] / "model.safetensors.index.json").unlink()  # two files without one are not left so
    (given["policy"] / "consolidated.safetensors.index.json").write_text("{}")
    merge_point(HALF, given, output=tmp_path / "out")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 3 * 24
    for name, file in index["weight_map"].items():
        assert name in load_file(tmp_path / "out" / file)
    assert set(index["weight_map"]) == {"a", "b", "c"}


def test_the_record_says_how_it_came_about(tmp_path: Path, given: dict[str, Path]) -> None:
    known = {"policy": {"path": "me/policy", "weights_hash": "0123"}}
    merge_point(HALF, given, output=tmp_path / "out", inputs=known)
    record = json.loads((tmp_path / "out" / "merge.json").read_text())
    assert record.pop("omsweep")
    assert len(record["inputs"]["sft"].pop("weights_hash")) == 16
    assert record == {
        "method": "linear",
        "weight": 0.5,
        "inputs": {"policy": {"path": "me/policy", "weights_hash": "0123"}, "sft": {"path": str(given["sft"])}},
    }


def test_a_merge_that_is_broken_off_leaves_nothing(tmp_path: Path, given: dict[str, Path]) -> None:
    def broken_off(names: Sequence[str]) -> Iterator[str]:
        yield names[0]
        assert any(path.name.endswith(".partial") for path in (tmp_path / "deep").iterdir())
        raise KeyboardInterrupt

    known = {model: {"weights_hash": ""} for model in given}
    with pytest.raises(KeyboardInterrupt):
        merge_point(HALF, given, output=tmp_path / "deep" / "out", inputs=known, track=broken_off)
    assert list((tmp_path / "deep").iterdir()) == []


def test_an_empty_folder_is_filled_and_others_are_refused(tmp_path: Path, given: dict[str, Path]) -> None:
    (tmp_path / "out").mkdir()
    merge_point(HALF, given, output=tmp_path / "out")
    before = (tmp_path / "out" / "merge.json").stat().st_mtime_ns
    for output in (tmp_path / "out", given["policy"], given["sft"] / "model-0.safetensors"):
        with pytest.raises(ValueError, match="output must be a new or empty folder, got "):
            merge_point(HALF, given, output=output)
    assert (tmp_path / "out" / "merge.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="output cannot be made: "):
        merge_point(HALF, given, output=given["sft"] / "model-0.safetensors" / "out")


def test_a_full_disk_is_named_before_anything_is_written(
    tmp_path: Path, given: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(ValueError, match="output needs 0.0 GB, .* has 0.0 GB left"):
        merge_point(HALF, given, output=tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]
