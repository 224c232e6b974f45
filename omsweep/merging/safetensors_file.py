"""The safetensors format a piece at a time: eight bytes of length, a JSON header with byte offsets, the tensors' bytes.

The library maps files, and pages once touched count as the process's memory until the kernel wants them back. What is
read here lies in a buffer of the piece's size and nowhere else.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from omsweep.merging.names import listed
from omsweep.merging.safetensors_header import folder_headers

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
CODES: Mapping[torch.dtype, str] = {dtype: code for code, dtype in DTYPES.items()}
METADATA = {"format": "pt"}

Track: TypeAlias = Callable[[Sequence[str]], Iterable[str]]
"""Passes on the names it is given, one by one, and may draw a progress bar meanwhile."""

_HASHED_BYTES = 1 << 22


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file, by where its bytes lie.

    Attributes:
        file: the file.
        start: position of its first byte.
        size: number of its bytes.
        code: its dtype as the format calls it.
        shape: its shape.
    """

    file: Path
    start: int
    size: int
    code: str
    shape: torch.Size

    @property
    def dtype(self) -> torch.dtype:
        """Its dtype; ValueError for one that is not in `DTYPES`."""
        if self.code not in DTYPES:
            raise ValueError(f"{self.file} holds a tensor of dtype {self.code}, allowed are {', '.join(DTYPES)}")
        return DTYPES[self.code]

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def read(self, low: int, high: int) -> Tensor:
        """A fresh flat tensor of the entries from `low` up to `high`, row-major."""
        width = self.dtype.itemsize
        if high <= low:
            return torch.empty(0, dtype=self.dtype)
        return torch.frombuffer(self.read_bytes(low * width, (high - low) * width), dtype=self.dtype)

    def read_bytes(self, offset: int, count: int) -> bytearray:
        """`count` bytes from `offset` on; ValueError where the file ends before."""
        buffer = bytearray(count)
        with self.file.open("rb") as stream:
            stream.seek(self.start + offset)
            if stream.readinto(buffer) != count:
                raise ValueError(f"{self.file} ends inside a tensor")
        return buffer


def stored_tensors(folder: Path) -> dict[str, dict[str, StoredTensor]]:
    """The tensors of a folder's `weight_files`, by name of the file and of the tensor; raises as `folder_headers`."""
    return {
        file.name: {
            name: StoredTensor(file, header.start, header.size, header.code, torch.Size(header.shape))
            for name, header in headers.items()
        }
        for file, headers in folder_headers(folder).items()
    }


def header_bytes(tensors: Mapping[str, tuple[str, Sequence[int]]], metadata: Mapping[str, str]) -> bytes:
    """The head of a file that holds tensors in the given order, padded so that the data start aligned.

    Args:
        tensors: (dtype as in `DTYPES`, shape) by name.
        metadata: strings by name.
    """
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, (code, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * DTYPES[code].itemsize
        entries[name] = {"dtype": code, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def data_bytes(entries: Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU, as they are stored."""
    view: memoryview = entries.reshape(-1).view(torch.uint8).numpy().data
    return view


def non_finite(entries: Tensor) -> int:
    """How many entries are NaN or infinite."""
    if not entries.dtype.is_floating_point:
        return 0
    wide = entries.float() if entries.dtype.itemsize == 1 else entries  # torch compares no 8-bit floats
    return entries.numel() - int(torch.count_nonzero(torch.isfinite(wide)))


def refuse_non_finite(model: object, counts: Mapping[str, int]) -> None:
    """ValueError naming model, tensors and counts where one of them (by tensor) is above 0."""
    bad = {name: count for name, count in counts.items() if count}
    if bad:
        names = listed(f"{name} ({count})" for name, count in bad.items())
        raise ValueError(f"{model} holds {sum(bad.values())} entries that are not finite (NaN or inf): {names}")


def folder_hash(folder: str | Path, *, track: Track = iter) -> str:
    """Sixteen hex digits over names, dtypes, shapes and bytes of all tensors of a folder's `weight_files`.

    Independent of file times, of how tensors are spread over files, of their order and of metadata. Because every model
    is read through here before it is used, this is where NaN and infinite weights are found.

    Args:
        folder: files in subfolders do not count.
        track: wraps the names as they are gone through, for a progress bar.

    Raises:
        ValueError: no safetensors file, one that cannot be read, or weights that are not finite.
    """
    tensors = [pair for inside in stored_tensors(Path(folder)).values() for pair in inside.items()]
    digests, counts = [], {}
    for _, (name, tensor) in zip(track([name for name, _ in tensors]), tensors, strict=True):
        digest, counts[name] = _digest(tensor)
        digests.append(f"{name} {tensor.code} {list(tensor.shape)} {digest}")
    refuse_non_finite(folder, counts)
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:16]


def _digest(tensor: StoredTensor) -> tuple[str, int]:
    """Hash of the bytes, and how many entries are not finite (0 of a dtype that torch does not have)."""
    content, bad = hashlib.sha256(), 0
    for offset in range(0, tensor.size, _HASHED_BYTES):
        read = tensor.read_bytes(offset, min(_HASHED_BYTES, tensor.size - offset))
        content.update(read)
        bad += non_finite(torch.frombuffer(read, dtype=tensor.dtype)) if tensor.code in DTYPES else 0
    return content.hexdigest(), bad
