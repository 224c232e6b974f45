"""What a folder's safetensors files hold, told by its index and their headers alone. Torch-free."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omsweep.merging.names import listed

WIDTHS: Mapping[str, int] = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 1),
}
"""Bytes of an entry by the format's name of its dtype; entries of other dtypes are smaller than a byte."""

INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
_OTHER_FORMATS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.gguf")
_POINTER = b"version https://git-lfs.github.com/spec/"


class Header(NamedTuple):
    """A tensor by its file's header: position of its first byte, number of bytes, dtype as in `WIDTHS`, shape."""

    start: int
    size: int
    code: str
    shape: tuple[int, ...]


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder that hold its model, by name; none where there are none.

    As transformers chooses: `model.safetensors`, else the files that its index lists; where there is neither, all but
    an adapter's. A second set of weights beside them (`consolidated.safetensors`) is not the model's. ValueError for an
    index that cannot be understood, or that lists files which are not there.
    """
    whole = folder / "model.safetensors"
    if whole.is_file():
        return [whole]
    if not (folder / INDEX).is_file():
        return sorted(file for file in folder.glob("*.safetensors") if not file.name.startswith("adapter_"))
    files = sorted({folder / name for name in _index(folder).values()})
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ValueError(f"{folder} lacks {len(missing)} of the {len(files)} files of its index: {listed(missing)}")
    return files


def folder_headers(folder: Path) -> dict[Path, dict[str, Header]]:
    """The tensors of a folder's `weight_files`, by file and name.

    Raises:
        ValueError: no safetensors file (saying what lies there in its place), one that `read_header` refuses, a name in
            two files, or one of the index in none.
    """
    files = {file: read_header(file) for file in weight_files(folder)}
    if not files:
        raise ValueError(f"{folder} has no *.safetensors file{_instead(folder)}")
    names: set[str] = set()
    for tensors in files.values():
        if twice := sorted(names & tensors.keys()):
            raise ValueError(f"{folder} holds {twice[0]} in two files")
        names |= tensors.keys()
    indexed = folder / "model.safetensors" not in files and (folder / INDEX).is_file()
    if indexed and (lost := sorted(_index(folder).keys() - names)):
        raise ValueError(f"{folder / INDEX} lists tensors that no file holds: {listed(lost)}")
    return files


def read_header(file: Path) -> dict[str, Header]:
    """The tensors of a safetensors file by name, in the order of their bytes; nothing behind the header is read.

    Raises:
        ValueError: no such file, a Git LFS pointer, a header that cannot be understood, tensors that do not lie one
            behind the other, and more or fewer bytes than they need.
    """
    refuse_pointer(file)
    try:
        have = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > have:
                raise ValueError(f"its header should have {length} bytes")
            content: dict[str, Any] = json.loads(stream.read(length))
        content.pop("__metadata__", None)
        entries = sorted(content.items(), key=lambda item: item[1]["data_offsets"])
        tensors = {name: _header(8 + length, entry) for name, entry in entries}
        end = _end_of(tensors, 8 + length)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as a safetensors file: {error}") from error
    if end != have:
        what = "is cut off" if end > have else "has bytes behind its last tensor"
        raise ValueError(f"{file} {what}: {have} of {end} bytes are there")
    return tensors


def refuse_pointer(file: Path) -> None:
    """ValueError for a file that Git LFS left in place of the real one."""
    if not file.is_file():
        return
    with file.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise ValueError(f"{file} is a Git LFS pointer, not the file itself: run `git lfs pull` in {file.parent}")


def no_model(folder: Path) -> str:
    """What a folder without `config.json` is in place of a model, and what to do about it."""
    what = _instead(folder) if _is_adapter(folder) else ": it has no config.json"
    return f"{folder} is no Hugging Face model folder{what}"


def _is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER).is_file() or any(folder.glob("adapter_model.*"))


def _instead(folder: Path) -> str:
    if _is_adapter(folder):
        return (
            " but an adapter: merge it into its base model first (PEFT's merge_and_unload, then save_pretrained) and"
            " save the tokenizer beside it"
        )
    others = sorted(file.name for pattern in _OTHER_FORMATS for file in folder.glob(pattern))
    return (
        f", only {listed(others)}: convert them to safetensors (from_pretrained, then save_pretrained)"
        if others
        else ""
    )


def _index(folder: Path) -> dict[str, str]:
    index = folder / INDEX
    refuse_pointer(index)
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if not places or not all(isinstance(name, str) for name in places.values()):
            raise ValueError("its weight_map must name a file for each tensor")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{index} cannot be read as an index of weights: {error!r}") from error
    return dict(places)


def _header(data: int, entry: Mapping[str, Any]) -> Header:
    """A tensor of a header; `data` is where the tensors' bytes begin."""
    (start, end), code, shape = entry["data_offsets"], entry["dtype"], entry["shape"]
    if not all(type(number) is int and number >= 0 for number in (start, end, *shape)):
        raise ValueError(f"offsets and shapes must be whole numbers, got {entry}")
    if end - start != math.prod(shape) * WIDTHS.get(code, 0) and code in WIDTHS:
        raise ValueError(f"{code} of shape {list(shape)} does not take {end - start} bytes")
    return Header(data + start, end - start, code, tuple(shape))


def _end_of(tensors: Mapping[str, Header], data: int) -> int:
    """Where the last tensor ends; ValueError where they do not lie one behind the other from `data` on."""
    for name, tensor in tensors.items():
        if tensor.start != data:
            raise ValueError(f"{name} begins at byte {tensor.start}, and the one before ends at {data}")
        data += tensor.size
    return data
