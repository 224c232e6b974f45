"""What a folder of weights is told by its index and headers: whole, or refused with file and remedy."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omsweep.merging.safetensors_file import METADATA, header_bytes
from omsweep.merging.safetensors_header import INDEX, folder_headers, read_header, weight_files

ONE = header_bytes({"w": ("F32", (2,))}, METADATA)


def head(**tensors: object) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a safetensors file"),
        (b"nonsense that is no length", "its header should have"),
        ((2).to_bytes(8, "little") + b"[]", "cannot be read as a safetensors file"),
        (ONE + b"1234", r"is cut off: \d+ of \d+ bytes are there"),
        (ONE + b"123456789", "has bytes behind its last tensor"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "is a Git LFS pointer.*git lfs pull"),
        (head(w={"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}) + b"12345678", "does not take 8 bytes"),
        (head(w={"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}) + b"12345678", "whole numbers"),
        (head(w={"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}) + b"12345678", "w begins at byte"),
        (head(w={"dtype": "F32", "data_offsets": [0, 8]}) + b"12345678", "cannot be read as a safetensors file"),
    ],
)
def test_files_that_are_none_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=rf"model\.safetensors .*{message}"):
        read_header(tmp_path / "model.safetensors")


def test_a_second_set_of_weights_is_not_the_models(tmp_path: Path) -> None:
    for name in ("model-1", "model-2", "consolidated"):
        save_file({name: torch.zeros(2)}, tmp_path / f"{name}.safetensors")
    assert [file.stem for file in weight_files(tmp_path)] == ["consolidated", "model-1", "model-2"]
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors"}}))
    assert [file.stem for file in weight_files(tmp_path)] == ["model-1", "model-2"]
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert [file.stem for file in weight_files(tmp_path)] == ["model"]
    (tmp_path / "model.safetensors").unlink()
    for broken in ("{", "[]", "{}"):
        index.write_text(broken)
        with pytest.raises(ValueError, match=r"model\.safetensors\.index\.json cannot be read as an index of weights"):
            weight_files(tmp_path)


def test_files_of_the_index_that_are_not_there_are_named(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "model-1.safetensors")
    places = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ValueError, match=r"lacks 1 of the 2 files of its index: model-2\.safetensors"):
        folder_headers(tmp_path)
    save_file({"c": torch.zeros(2)}, tmp_path / "model-2.safetensors")
    with pytest.raises(ValueError, match=r"index\.json lists tensors that no file holds: b"):
        folder_headers(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["pytorch_model.bin"], r"has no \*\.safetensors file, only pytorch_model\.bin: convert"),
        (["adapter_config.json", "adapter_model.safetensors"], "but an adapter: merge it into its base"),
        (["README.md"], r"has no \*\.safetensors file$"),
    ],
)
def test_what_lies_in_place_of_weights_is_said(tmp_path: Path, files: list[str], message: str) -> None:
    for file in files:
        (tmp_path / file).write_text("{}")
    with pytest.raises(ValueError, match=message):
        folder_headers(tmp_path)
