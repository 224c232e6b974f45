"""A merged model as a folder: weights streamed into the files of an existing one, the rest of it carried over."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from omsweep.merging.safetensors_file import METADATA, Track, data_bytes, header_bytes
from omsweep.merging.safetensors_header import INDEX
from omsweep.merging.sources import FolderTensors

RECORD = "merge.json"
CARRIED = (".json", ".jinja", ".model", ".txt", ".tiktoken")
"""Suffixes of what is no weight: configuration, generation configuration, tokenizer, chat template."""
TEMPLATES = "additional_chat_templates"
LEFT = (RECORD, "trainer_state.json", "recipe.json", "manifest.json")
"""What tells how a model came about, which is not how the merged one did."""


def check_output(output: Path) -> None:
    """ValueError where `output` is anything but new or an empty folder."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output must be a new or empty folder, got {output}")


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder to fill, which is `output` once the block has ended, and gone where it raises.

    It lies beside `output` under a hidden name and is renamed at last.

    Raises:
        ValueError: `output` is not empty or cannot be made.
    """
    check_output(output)
    output = output.resolve()
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise ValueError(f"output cannot be made: {error}") from error
    try:
        yield partial
        partial.replace(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_checkpoint(
    output: Path,
    merged: Callable[[str], Iterable[Tensor]],
    *,
    layout: FolderTensors,
    carried: Path,
    record: Mapping[str, Any],
    track: Track = iter,
) -> None:
    """Write a model folder, which is there when this returns, or not at all (`new_folder`).

    Memory holds one piece of one tensor.

    Args:
        output: a new or empty folder.
        merged: gives a tensor in pieces, row-major, in its dtype in `layout`.
        layout: a model whose files the new one has: names, order and dtypes of tensors.
        carried: the folder whose configuration, tokenizer, generation configuration and chat template are copied.
        record: what `merge.json` says.
        track: wraps the names of the tensors as they are gone through, for a progress bar.

    Raises:
        ValueError: `output` is not empty or cannot be made, or the disk has not the room.
    """
    with new_folder(output) as partial:
        _check_room(partial, layout)
        _write_weights(partial, merged, layout, track)
        for file in _carried_files(carried):
            (partial / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(carried / file, partial / file)
        (partial / RECORD).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")


def _check_room(folder: Path, layout: FolderTensors) -> None:
    needed, free = sum(tensor.size for tensor in layout.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(f"output needs {needed / 1e9:.1f} GB, {folder.parent} has {free / 1e9:.1f} GB left")


def _write_weights(
    folder: Path, merged: Callable[[str], Iterable[Tensor]], layout: FolderTensors, track: Track
) -> None:
    file_of = {name: file for file, tensors in layout.files.items() for name in tensors}
    for file, tensors in layout.files.items():
        head = header_bytes({name: (tensor.code, tensor.shape) for name, tensor in tensors.items()}, METADATA)
        (folder / file).write_bytes(head)
    for name in track(list(file_of)):
        with (folder / file_of[name]).open("ab") as stream:
            for piece in merged(name):
                stream.write(data_bytes(piece))
            stream.flush()
            os.fsync(stream.fileno())
    if len(layout.files) > 1 or (layout.path / INDEX).is_file():
        total = sum(tensor.size for tensor in layout.values())
        content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(file_of.items()))}
        (folder / INDEX).write_text(json.dumps(content, indent=2) + "\n")


def _carried_files(folder: Path) -> list[Path]:
    """Relative paths of what is copied."""
    found = [path for path in (*folder.iterdir(), *folder.glob(f"{TEMPLATES}/*")) if path.suffix in CARRIED]
    wanted = (path for path in found if path.name not in LEFT and not path.name.endswith(".index.json"))
    return sorted(path.relative_to(folder) for path in wanted if path.is_file())
