"""Task vectors as files: written tensor by tensor from two checkpoints, opened as a read-only view of the file."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from omsweep.merging.names import listed
from omsweep.merging.safetensors_file import (
    CODES,
    METADATA,
    Track,
    data_bytes,
    header_bytes,
    non_finite,
    refuse_non_finite,
)
from omsweep.merging.sources import Readable, Weights, open_source
from omsweep.merging.vocabulary import VocabularyFit, fitted

FORMAT_VERSION = 1
STORED_DTYPES = (torch.float32, torch.bfloat16)
CHUNK_ENTRIES = 1 << 20

_METADATA = {**METADATA, "content": f"omsweep task vector {FORMAT_VERSION}"}


def write_task_vector(
    base: Weights,
    sft: Weights,
    file: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    dtype: torch.dtype = torch.float32,
    fit: VocabularyFit | None = None,
    track: Track = iter,
) -> None:
    """Write tau = theta_r - theta_b to one safetensors file.

    Tensors are read, subtracted and written in chunks, so that memory holds a few times `CHUNK_ENTRIES` entries (a
    whole tensor where one of a mapping is not contiguous). The file is there when this returns, or not at all.

    Args:
        base: theta_b: tensors by name, or a folder of safetensors files.
        sft: theta_r, as `base`.
        file: what to write; replaced if it is there.
        names: the parameters wanted, by the names that `named_parameters()` gives, tied weights once. Whatever else
            base and sft hold (buffers, tied copies) is left out. None: every floating point tensor, and the names of
            base and sft must be the same.
        dtype: in which tau is stored, float32 or bfloat16. The subtraction is float32 and rounded once.
        fit: how the base's vocabulary becomes the SFT model's; None: the two have the same rows.
        track: wraps the names as they are gone through, for a progress bar.

    Raises:
        ValueError: names that are missing, shapes that differ, tensors wanted that are not floating point (up to five
            are listed each), entries that are not finite, another dtype, or a folder without safetensors.
    """
    if dtype not in STORED_DTYPES:
        raise ValueError(f"dtype of a task vector must be one of {', '.join(map(str, STORED_DTYPES))}, got {dtype}")
    base_tensors, sft_tensors = fitted(open_source(base), fit), open_source(sft)
    wanted = _wanted(base_tensors, sft_tensors, names)
    entries = {name: (CODES[dtype], sft_tensors[name].shape) for name in wanted}

    def difference(name: str) -> Iterator[Tensor]:
        bad = dict.fromkeys(("base", "SFT model"), 0)
        for chunks in float_chunks(base_tensors[name], sft_tensors[name]):
            for model, chunk in zip(bad, chunks, strict=True):
                bad[model] += non_finite(chunk)
            yield (chunks[1] - chunks[0]).to(dtype)
        for model, count in bad.items():
            refuse_non_finite(f"the {model}", {name: count})

    _write(Path(file), entries, difference, track)


def write_control(
    task_vector: str | os.PathLike[str],
    file: str | os.PathLike[str],
    control: Callable[[Tensor, str], Tensor],
    *,
    track: Track = iter,
) -> None:
    """Write what `control` makes of a task vector, one tensor after another, to a file like `write_task_vector`'s.

    Args:
        task_vector: the real one's file.
        file: what to write; replaced if it is there.
        control: (tensor, canonical name) -> tensor of the same shape and dtype, as in `CONTROLS`.
        track: wraps the names as they are gone through, for a progress bar.

    Raises:
        ValueError: no file of a task vector.
    """
    real = open_task_vector(task_vector)
    entries = {name: (CODES[tau.dtype], tau.shape) for name, tau in real.items()}
    _write(Path(file), entries, lambda name: control(real[name], name).reshape(-1).split(CHUNK_ENTRIES), track)


def open_task_vector(file: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The task vector of a file by canonical parameter name, without reading it.

    Every tensor is a view of the mapped file: its pages are read when touched, and all processes of a node that open
    the same file share them. Writing to a tensor changes this process's copy of the pages it touches, never the file.

    Returns:
        float32 or bfloat16 tensors on the CPU, as they were written.

    Raises:
        ValueError: no file that `write_task_vector` of this version wrote.
    """
    from safetensors import SafetensorError, safe_open

    try:
        handle = safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} cannot be read as a safetensors file: {error}") from error
    with handle as opened:
        if opened.metadata() != _METADATA:
            raise ValueError(f"{file} must hold an {_METADATA['content']}, its metadata are {opened.metadata()}")
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def float_chunks(*tensors: Readable) -> Iterator[tuple[Tensor, ...]]:
    """The same slice of every tensor, one slice after the other: flat, float32, on the CPU, `CHUNK_ENTRIES` long.

    Args:
        tensors: of equal shape.
    """
    count = tensors[0].shape.numel()
    for start in range(0, count, CHUNK_ENTRIES):
        end = min(start + CHUNK_ENTRIES, count)
        yield tuple(tensor.read(start, end).to("cpu", torch.float32) for tensor in tensors)


def _wanted(base: Mapping[str, Readable], sft: Mapping[str, Readable], names: Sequence[str] | None) -> list[str]:
    """The names to write, checked against both checkpoints."""
    problems = []
    wanted = list(names) if names is not None else sorted(base.keys() | sft.keys())
    for what, tensors in (("base", base), ("SFT model", sft)):
        missing = [name for name in wanted if name not in tensors]
        if missing:
            problems.append(f"the {what} lacks {listed(missing)}")
    both = [name for name in wanted if name in base and name in sft]
    shapes = [
        f"{name} {tuple(base[name].shape)} and {tuple(sft[name].shape)}"
        for name in both
        if base[name].shape != sft[name].shape
    ]
    if shapes:
        problems.append(f"shapes differ at {listed(shapes)}")
    whole = [name for name in both if not all(side[name].dtype.is_floating_point for side in (base, sft))]
    if whole and names is not None:
        problems.append(f"no floating point at {listed(whole)}")
    if problems:
        raise ValueError(f"a task vector needs each tensor in base and SFT model alike: {'; '.join(problems)}")
    return [name for name in wanted if name not in set(whole)]


def _write(
    file: Path, entries: Mapping[str, tuple[str, torch.Size]], pieces: Callable[[str], Iterable[Tensor]], track: Track
) -> None:
    """Write the pieces of each named tensor (dtype code and shape) to a file that is then there, or not at all."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(header_bytes(entries, _METADATA))
            for name in track(list(entries)):
                for piece in pieces(name):
                    stream.write(data_bytes(piece))
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
