"""Folders of safetensors: by name whichever file, mapped, mistakes named."""

from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omsweep.merging.folders import SafetensorsFolder, opened_weights
from omsweep.merging.listing import listed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file({"b": torch.arange(3.0), "c": torch.ones(2, 2)}, tmp_path / "model-1.safetensors")
    save_file({"a": torch.zeros(4)}, tmp_path / "model-2.safetensors")
    return tmp_path


def test_tensors_are_found_in_whichever_file_and_outlive_it(folder: Path) -> None:
    with ExitStack() as files:
        opened = SafetensorsFolder(folder, files)
        assert set(opened) == {"a", "b", "c"}
        assert len(opened) == 3
        assert opened.names_by_file == {"model-1.safetensors": ["b", "c"], "model-2.safetensors": ["a"]}
        kept = opened["b"]
    assert kept.tolist() == [0.0, 1.0, 2.0]


def test_writing_to_a_tensor_leaves_the_file_as_it_is(folder: Path) -> None:
    with ExitStack() as files:
        SafetensorsFolder(folder, files)["b"].fill_(7.0)
    with ExitStack() as files:
        assert SafetensorsFolder(folder, files)["b"].tolist() == [0.0, 1.0, 2.0]


def test_a_mapping_stays_what_it_is() -> None:
    state = {"a": torch.zeros(1)}
    with ExitStack() as files:
        assert opened_weights(state, files) is state


def test_a_name_in_two_files_is_refused(folder: Path) -> None:
    save_file({"a": torch.zeros(4)}, folder / "model-3.safetensors")
    with ExitStack() as files, pytest.raises(ValueError, match=r"holds a in two files"):
        opened_weights(folder, files)


def test_what_is_no_safetensors_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "model-3.safetensors").write_bytes(b"nonsense")
    with ExitStack() as files, pytest.raises(ValueError, match=r"model-3\.safetensors cannot be read as a safetensors"):
        opened_weights(folder, files)
    with ExitStack() as files, pytest.raises(ValueError, match="must be a folder with safetensors files, found none"):
        opened_weights(tmp_path / "missing", files)


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], "none"), (["a"], "a"), (list("abcde"), "a, b, c, d, e"), (list("abcdefg"), "a, b, c, d, e and 2 more")],
)
def test_up_to_five_names_are_listed(names: list[str], expected: str) -> None:
    assert listed(names) == expected
