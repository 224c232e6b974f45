"""The safetensors format by pieces: what the library writes is read, what is written the library reads."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from omsweep.merging.safetensors_file import (
    CODES,
    DTYPES,
    METADATA,
    data_bytes,
    folder_hash,
    header_bytes,
    weight_files,
)
from omsweep.merging.safetensors_file import stored_tensors as stored

KINDS = {dtype: torch.arange(12).remainder(2 if dtype is torch.bool else 12).to(dtype) for dtype in CODES}
TENSORS: dict[str, Tensor] = {code: KINDS[dtype].view(3, 4) for code, dtype in DTYPES.items()}
TENSORS |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}


def same(left: Tensor, right: Tensor) -> bool:
    return left.dtype == right.dtype and data_bytes(left) == data_bytes(right)


def test_any_piece_of_what_the_library_wrote_is_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    read = stored(tmp_path / "model.safetensors")
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].shape == tensor.shape
        assert same(read[name].read(0, tensor.numel()), tensor), name
        low, high = tensor.numel() // 4, tensor.numel() // 2
        assert same(read[name].read(low, high), tensor.reshape(-1)[low:high]), name


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    head = header_bytes({name: (CODES[tensor.dtype], tensor.shape) for name, tensor in TENSORS.items()}, METADATA)
    assert len(head) % 8 == 0
    body = b"".join(bytes(data_bytes(tensor)) for tensor in TENSORS.values())
    (tmp_path / "model.safetensors").write_bytes(head + body)
    read = load_file(tmp_path / "model.safetensors")
    assert all(same(read[name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a safetensors file"),
        (b"nonsense that is no length", "its header should have"),
        ((2).to_bytes(8, "little") + b"[]", "cannot be read as a safetensors file"),
        (header_bytes({"w": ("F32", (2,))}, METADATA) + b"1234", r"is cut off: \d+ of \d+ bytes are there"),
    ],
)
def test_files_that_are_none_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=rf"model\.safetensors .*{message}"):
        stored(tmp_path / "model.safetensors")


def test_a_dtype_torch_does_not_have_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    text = json.dumps({"w": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"1")
    with pytest.raises(ValueError, match="dtype F4, allowed are F64, F32"):
        stored(tmp_path / "model.safetensors")["w"].read(0, 2)
    assert len(folder_hash(tmp_path)) == 16


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


def test_a_hash_is_one_of_content_and_passes_names_to_track(tmp_path: Path) -> None:
    weights, seen = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}, []
    for folder, files in {"one": [weights], "two": [{"b": weights["b"]}, {"a": weights["a"]}]}.items():
        (tmp_path / folder).mkdir()
        for number, tensors in enumerate(files):
            save_file(tensors, tmp_path / folder / f"model-{number}.safetensors")
    assert folder_hash(tmp_path / "one") == folder_hash(
        tmp_path / "two", track=lambda names: seen.extend(names) or names
    )
    assert seen == ["b", "a"]
    assert folder_hash(tmp_path / "one") == "350a95cc7704a44a"  # records and caches of earlier runs hold such hashes
