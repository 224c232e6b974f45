"""Where weights are read from: a folder's tensors by name whichever file, mistakes named."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omsweep.merging.sources import FolderTensors, HeldTensors, open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file({"b": torch.arange(3.0), "c": torch.ones(2, 2)}, tmp_path / "model-1.safetensors")
    save_file({"a": torch.zeros(4)}, tmp_path / "model-2.safetensors")
    return tmp_path


def test_tensors_are_found_in_whichever_file(folder: Path) -> None:
    opened = FolderTensors(folder)
    assert set(opened) == {"a", "b", "c"}
    assert len(opened) == 3
    assert {file: list(tensors) for file, tensors in opened.files.items()} == {
        "model-1.safetensors": ["b", "c"],
        "model-2.safetensors": ["a"],
    }
    assert opened["b"].read(0, 3).tolist() == [0.0, 1.0, 2.0]


def test_writing_to_what_was_read_leaves_the_file_as_it_is(folder: Path) -> None:
    FolderTensors(folder)["b"].read(0, 3).fill_(7.0)
    assert FolderTensors(folder)["b"].read(0, 3).tolist() == [0.0, 1.0, 2.0]


def test_a_mapping_is_read_where_it_lies() -> None:
    state = {"a": torch.zeros(3, 2)}
    opened = open_source(state)
    assert isinstance(opened, HeldTensors)
    assert opened["a"].read(2, 4).data_ptr() == state["a"][1].data_ptr()


def test_a_name_in_two_files_is_refused(folder: Path) -> None:
    save_file({"a": torch.zeros(4)}, folder / "model-3.safetensors")
    with pytest.raises(ValueError, match=r"holds a in two files"):
        open_source(folder)


def test_what_is_no_safetensors_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "model-3.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"model-3\.safetensors cannot be read as a safetensors"):
        open_source(folder)
    with pytest.raises(ValueError, match=r"has no \*\.safetensors file"):
        open_source(tmp_path / "missing")
