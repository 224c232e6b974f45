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
from typing import Any, TypeAlias

import torch
from torch import Tensor

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

_HASHED_BYTES = 1 << 24


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder that hold its model, by name; none where there are none.

    As transformers chooses: `model.safetensors`, else the files that its index lists; where there is neither, all. A
    second set of weights beside them (`consolidated.safetensors`) is not the model's. ValueError for an index that
    cannot be understood.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    try:
        return sorted(folder / name for name in set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} cannot be read as an index of weights: {error!r}") from error


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


def stored_tensors(file: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name, in the order of their bytes; only the header is read.

    Raises:
        ValueError: no such file, a header that cannot be understood, or fewer bytes than it promises.
    """
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > file.stat().st_size:
                raise ValueError(f"its header should have {length} bytes")
            header: dict[str, Any] = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
        tensors = {name: _stored(file, 8 + length, entry) for name, entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read as a safetensors file: {error}") from error
    ends = max((tensor.start + tensor.size for tensor in tensors.values()), default=0)
    if ends > file.stat().st_size:
        raise ValueError(f"{file} is cut off: {file.stat().st_size} of {ends} bytes are there")
    return tensors


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


def folder_hash(folder: str | Path, *, track: Track = iter) -> str:
    """Sixteen hex digits over names, dtypes, shapes and bytes of all tensors of a folder's `weight_files`.

    Independent of file times, of how tensors are spread over files, of their order and of metadata.

    Args:
        folder: files in subfolders do not count.
        track: wraps the names as they are gone through, for a progress bar.

    Raises:
        ValueError: no safetensors file, or one that cannot be read.
    """
    files = weight_files(Path(folder))
    if not files:
        raise ValueError(f"{folder} has no *.safetensors file")
    tensors = [(name, tensor) for file in files for name, tensor in stored_tensors(file).items()]
    tracked = zip(track([name for name, _ in tensors]), tensors, strict=True)
    digests = [f"{name} {tensor.code} {list(tensor.shape)} {_digest(tensor)}" for _, (name, tensor) in tracked]
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:16]


def _stored(file: Path, data: int, entry: Mapping[str, Any]) -> StoredTensor:
    """A tensor of the header; `data` is where the tensors' bytes begin."""
    start, end = entry["data_offsets"]
    return StoredTensor(file, data + start, end - start, entry["dtype"], torch.Size(entry["shape"]))


def _digest(tensor: StoredTensor) -> str:
    content = hashlib.sha256()
    for offset in range(0, tensor.size, _HASHED_BYTES):
        content.update(tensor.read_bytes(offset, min(_HASHED_BYTES, tensor.size - offset)))
    return content.hexdigest()
