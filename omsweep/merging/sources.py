"""Where weights are read from: tensors in memory or in a folder's safetensors files, by name, read in pieces."""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from omsweep.merging.names import is_embedding, layer_of
from omsweep.merging.safetensors_file import StoredTensor, stored_tensors

PIECE_ENTRIES = 1 << 18

Weights: TypeAlias = Mapping[str, Tensor] | str | os.PathLike[str]
"""A model: tensors by name, or a folder of safetensors files."""


class Readable(Protocol):
    """A tensor of which pieces can be asked."""

    @property
    def dtype(self) -> torch.dtype:
        """Its dtype."""

    @property
    def shape(self) -> torch.Size:
        """Its shape."""

    @property
    def device(self) -> torch.device:
        """Where pieces are."""

    def read(self, low: int, high: int) -> Tensor:
        """The entries from `low` up to `high`, row-major and flat."""


class HeldTensor:
    """A tensor in memory as a `Readable`; one that is not contiguous is copied when it is first read."""

    def __init__(self, tensor: Tensor) -> None:
        self.dtype, self.shape, self.device = tensor.dtype, tensor.shape, tensor.device
        self._tensor = tensor.detach()

    @cached_property
    def _flat(self) -> Tensor:
        return self._tensor.reshape(-1)

    def read(self, low: int, high: int) -> Tensor:
        """A view of the entries from `low` up to `high`."""
        return self._flat[low:high]


class HeldTensors(Mapping[str, Readable]):
    """A state dict as a source."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Readable:
        return HeldTensor(self._tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def copies(self) -> list[set[str]]:
        """Names that share one memory."""
        by_memory: dict[object, set[str]] = {}
        for name, tensor in self._tensors.items():
            if tensor.numel() > 0:
                memory = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
                by_memory.setdefault(memory, set()).add(name)
        return [names for names in by_memory.values() if len(names) > 1]


class FolderTensors(dict[str, StoredTensor]):
    """The tensors of a folder's `weight_files` by name; nothing but headers is read before a piece is asked.

    Args:
        path: the folder; files in subfolders do not count.

    Attributes:
        path: the folder.
        files: file name -> its tensors by name, in the order of their bytes.

    Raises:
        ValueError: see `folder_headers`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = stored_tensors(path)
        for tensors in self.files.values():
            self.update(tensors)

    def copies(self) -> list[set[str]]:
        """Names outside of layers whose tensors are equal byte for byte: embedding and head that are tied."""
        groups: list[set[str]] = []
        for name in sorted(name for name in self if layer_of(name) is None):
            group = next((group for group in groups if same_entries(self[name], self[min(group)])), None)
            if group is None:
                groups.append({name})
            else:
                group.add(name)
        return [group for group in groups if len(group) > 1]


class RowTensor:
    """Rows of a tensor in another order, with rows of zeros in between, as a `Readable`.

    Args:
        tensor: the rows, along its first dimension.
        runs: (first row in `tensor`, or None for zeros; number of rows), from the first row here to the last.
    """

    def __init__(self, tensor: Readable, runs: Sequence[tuple[int | None, int]]) -> None:
        self._tensor, self._runs = tensor, runs
        self._ends = list(accumulate(count for _, count in runs))
        self.dtype, self.device = tensor.dtype, tensor.device
        self.shape = torch.Size((self._ends[-1], *tensor.shape[1:]))

    def read(self, low: int, high: int) -> Tensor:
        """The entries from `low` up to `high`, row-major and flat."""
        width = self.shape[1:].numel()
        found = [torch.empty(0, dtype=self.dtype, device=self.device)]
        number = bisect_right(self._ends, low // width) if high > low else len(self._runs)
        while low < high:
            row, count = self._runs[number]
            first, end = (self._ends[number] - count) * width, min(high, self._ends[number] * width)
            if row is None:
                found.append(torch.zeros(end - low, dtype=self.dtype, device=self.device))
            else:
                found.append(self._tensor.read(row * width + low - first, row * width + end - first))
            low, number = end, number + 1
        return torch.cat(found)


class RowTensors(dict[str, Readable]):
    """A source of which some tensors are seen through `RowTensor`.

    Args:
        source: all tensors.
        runs: as for `RowTensor`, the same for all of `names`.
        names: of the tensors whose rows change.
    """

    def __init__(
        self, source: HeldTensors | FolderTensors, runs: Sequence[tuple[int | None, int]], names: Iterable[str]
    ) -> None:
        super().__init__(source)
        self.copies = source.copies
        self.update({name: RowTensor(source[name], runs) for name in names})


Source: TypeAlias = HeldTensors | FolderTensors | RowTensors


def open_source(weights: Weights) -> HeldTensors | FolderTensors:
    """A mapping as `HeldTensors`, a folder as `FolderTensors`."""
    return HeldTensors(weights) if isinstance(weights, Mapping) else FolderTensors(Path(weights))


def pieces(tensor: Readable) -> Iterator[tuple[int, Tensor]]:
    """The tensor in pieces of `PIECE_ENTRIES`, each with the row-major index of its first entry."""
    count = tensor.shape.numel()
    for low in range(0, count, PIECE_ENTRIES):
        yield low, tensor.read(low, min(low + PIECE_ENTRIES, count))


def same_entries(left: Readable, right: Readable) -> bool:
    """Whether dtypes, shapes and bytes are the same; what follows a difference is not read."""
    if (left.dtype, left.shape) != (right.dtype, right.shape):
        return False
    both = zip(pieces(left), pieces(right), strict=True)
    return all(torch.equal(a.view(torch.uint8), b.to(a.device).view(torch.uint8)) for (_, a), (_, b) in both)


def tied_names(sources: Sequence[Source]) -> dict[str, str]:
    """Names that are another name's tensor in every source.

    Two names are tied when at least one source holds the same tensor under both (one memory, or in folders equal bytes
    outside of layers), no source holds different tensors under them, and every source holds the one that leads: an
    embedding before a head, else the first by name.

    Returns:
        name -> the name that leads, which is merged in its place and keys its mask.
    """
    groups = [source.copies() for source in sources]
    linked = {name for copies in groups for group in copies for name in group}
    leaders: list[str] = []
    tied: dict[str, str] = {}
    everywhere = {name for name in linked if all(name in source for source in sources)}
    for name in sorted(linked, key=lambda name: (name not in everywhere, not is_embedding(name), name)):
        leader = next((leader for leader in leaders if _same(leader, name, sources, groups)), None)
        if leader is not None:
            tied[name] = leader
        elif name in everywhere:
            leaders.append(name)
    return tied


def _same(leader: str, name: str, sources: Sequence[Source], groups: Sequence[Sequence[set[str]]]) -> bool:
    both = [copies for source, copies in zip(sources, groups, strict=True) if name in source]
    return bool(both) and all(any({leader, name} <= group for group in copies) for copies in both)
