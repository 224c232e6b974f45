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
    stored_tensors,
)

KINDS = {dtype: torch.arange(12).remainder(2 if dtype is torch.bool else 12).to(dtype) for dtype in CODES}
TENSORS: dict[str, Tensor] = {code: KINDS[dtype].view(3, 4) for code, dtype in DTYPES.items()}
TENSORS |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}


def same(left: Tensor, right: Tensor) -> bool:
    return left.dtype == right.dtype and data_bytes(left) == data_bytes(right)


def test_any_piece_of_what_the_library_wrote_is_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    read = stored_tensors(tmp_path)["model.safetensors"]
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


def test_a_dtype_torch_does_not_have_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    text = json.dumps({"w": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"1")
    with pytest.raises(ValueError, match="dtype F4, allowed are F64, F32"):
        stored_tensors(tmp_path)["model.safetensors"]["w"].read(0, 2)
    assert len(folder_hash(tmp_path)) == 16


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


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES.values() if dtype.is_floating_point])
def test_weights_that_are_not_finite_are_counted_by_the_hash(tmp_path: Path, dtype: torch.dtype) -> None:
    bad = torch.ones(3, 4).to(dtype)
    bad[0, :2] = torch.nan
    if dtype is not torch.float8_e4m3fn:  # which has no infinity
        bad[2, 3] = -torch.inf
    count = 2 if dtype is torch.float8_e4m3fn else 3
    save_file({"good": torch.ones(2), "up_proj": bad}, tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=rf"{tmp_path} holds {count} entries that are not finite.*: up_proj \({count}\)"
    ):
        folder_hash(tmp_path)
