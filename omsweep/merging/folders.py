"""Weights on disk: the tensors of a folder's safetensors files by name, whichever file each one lies in."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from omsweep.merging.safetensors_file import weight_files

Weights: TypeAlias = Mapping[str, Tensor] | str | os.PathLike[str]


class SafetensorsFolder(Mapping[str, Tensor]):
    """The tensors of a folder's `weight_files`, by name.

    A tensor is a view of its mapped file: asking for it reads nothing, its pages come when they are touched, and
    writing to it leaves the file as it is.

    Args:
        path: the folder; files in subfolders do not count.
        files: closes the files; tensors already handed out stay valid.

    Attributes:
        names_by_file: file name -> names of its tensors.

    Raises:
        ValueError: no safetensors file, one that cannot be read, or a name that lies in two files.
    """

    def __init__(self, path: Path, files: ExitStack) -> None:
        self.names_by_file: dict[str, list[str]] = {}
        self._handles: dict[str, Any] = {}
        for file in weight_files(path):
            handle = files.enter_context(opened_file(file))
            self.names_by_file[file.name] = list(handle.keys())
            for name in self.names_by_file[file.name]:
                if name in self._handles:
                    raise ValueError(f"{path} holds {name} in two files")
                self._handles[name] = handle
        if not self._handles:
            raise ValueError(f"{path} must be a folder with safetensors files, found none")

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._handles[name].get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._handles)

    def __len__(self) -> int:
        return len(self._handles)


def opened_weights(weights: Weights, files: ExitStack) -> Mapping[str, Tensor]:
    """A mapping as it is, a folder as `SafetensorsFolder`."""
    return weights if isinstance(weights, Mapping) else SafetensorsFolder(Path(weights), files)


def opened_file(file: str | os.PathLike[str]) -> Any:
    """A safetensors file's handle (a context manager), mapped and not read; ValueError when it cannot be opened."""
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} cannot be read as a safetensors file: {error}") from error
