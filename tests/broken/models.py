"""Ways in which a model folder arrives broken; each changes a good one. Another is one more function in `MUTATIONS`."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Mutation = Callable[[Path, random.Random], None]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
JSON_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
GARBAGE: tuple[Any, ...] = (None, -1, 0, 7, 2**70, 1.5, "x", "", [], {}, [1], {"a": 1}, True, float("nan"))
TEXTS = (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe{", b"[" * 100_000, b'{"a": 1}', b"\0" * 64)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abab\nsize 12345\n"


def remove(folder: Path, rng: random.Random) -> None:
    """A file is missing."""
    rng.choice(sorted(folder.iterdir())).unlink()


def truncate(folder: Path, rng: random.Random) -> None:
    """A download or a copy stopped half-way."""
    file = rng.choice(sorted(folder.iterdir()))
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content))])


def append(folder: Path, rng: random.Random) -> None:
    """Bytes behind the end of a file."""
    file = rng.choice(sorted(folder.iterdir()))
    file.write_bytes(file.read_bytes() + rng.randbytes(rng.randint(1, 9)))


def scribble(folder: Path, rng: random.Random) -> None:
    """Some bytes at the start of a file are others: of weights, in the header."""
    file = rng.choice(sorted(folder.iterdir()))
    content = bytearray(file.read_bytes())
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(min(len(content), 3000))] = rng.randrange(256)
    file.write_bytes(content)


def pointer(folder: Path, rng: random.Random) -> None:
    """A file is what Git LFS leaves of it."""
    rng.choice(sorted(folder.iterdir())).write_bytes(POINTER)


def garbage_text(folder: Path, rng: random.Random) -> None:
    """A JSON file holds something else."""
    (folder / rng.choice(JSON_FILES)).write_bytes(rng.choice(TEXTS))


def garbage_value(folder: Path, rng: random.Random) -> None:
    """A value of a JSON file is another."""
    _edit(folder / rng.choice(JSON_FILES), rng, lambda: rng.choice(GARBAGE))


def missing_key(folder: Path, rng: random.Random) -> None:
    """A key of a JSON file is missing."""
    file = folder / rng.choice(JSON_FILES)
    if isinstance(content := _json(file), dict) and content:
        del content[rng.choice(sorted(content))]
        file.write_text(json.dumps(content))


def header_value(folder: Path, rng: random.Random) -> None:
    """A value in the header of the weights is another: dtype, shape or offsets."""
    file = folder / WEIGHTS
    data = file.read_bytes() if file.is_file() else b""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        entry = header[rng.choice(sorted(header))]
        entry[rng.choice(sorted(entry))] = rng.choice([*GARBAGE, "F16", "F32", "I64", [0, 64], [64, 0], [4, 4]])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def other_dtype(folder: Path, rng: random.Random) -> None:
    """A tensor in another dtype."""
    dtype = rng.choice([torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool, torch.float8_e4m3fn])
    _change(folder, rng, lambda tensor: tensor.to(dtype))


def other_shape(folder: Path, rng: random.Random) -> None:
    """A tensor in another shape."""
    shapes: list[Callable[[Tensor], Tensor]] = [
        lambda tensor: tensor[:-1].clone(),
        lambda tensor: tensor.reshape(-1),
        lambda tensor: tensor[:0].clone(),
        lambda tensor: torch.cat([tensor, tensor]),
    ]
    _change(folder, rng, rng.choice(shapes))


def not_finite(folder: Path, rng: random.Random) -> None:
    """Some weights are NaN or infinite."""
    value = rng.choice([torch.nan, torch.inf, -torch.inf])

    def spoil(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() and tensor.numel():
            tensor.view(-1)[rng.randrange(tensor.numel())] = value
        return tensor

    _change(folder, rng, spoil)


def lost_tensor(folder: Path, rng: random.Random) -> None:
    """A tensor is missing, or all of them."""
    _rewrite(folder, lambda tensors: {} if rng.random() < 0.1 else _without(tensors, rng.choice(sorted(tensors))))


def renamed(folder: Path, rng: random.Random) -> None:
    """Tensors by other names: of a wrapper, without their prefix, of one more layer."""
    old, new = rng.choice(
        [("model.", "base_model.model.model."), ("model.", ""), ("layers.1.", "layers.2."), ("q_", "")]
    )
    _rewrite(folder, lambda tensors: {name.replace(old, new, 1): tensor for name, tensor in tensors.items()})


def sharded(folder: Path, rng: random.Random) -> None:
    """Two files and an index that may be wrong: a lost file, a wrong name, a name too many, no map."""

    def split(tensors: dict[str, Tensor]) -> None:
        names = sorted(tensors)
        files = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(names)}
        for file in set(files.values()):
            save_file({name: tensors[name] for name in names if files[name] == file}, folder / file)
        (folder / WEIGHTS).unlink()
        wrong = rng.choice(["nothing", "file", "name", "more", "kind", "twice"])
        if wrong == "file":
            (folder / "model-0.safetensors").unlink()
        elif wrong == "twice":
            save_file(tensors, folder / "model-1.safetensors")
        elif wrong != "nothing":
            files |= {"name": {names[0]: "../x"}, "more": {"nowhere": "model-0.safetensors"}, "kind": {"a": 5}}[wrong]
        (folder / INDEX).write_text(json.dumps({"weight_map": files}))

    if tensors := _tensors(folder):
        split(tensors)


def other_format(folder: Path, rng: random.Random) -> None:
    """Weights in a format that is not read, or an adapter in place of or beside a model."""
    kind = rng.choice(["bin", "adapter", "merged"])
    if kind == "bin":
        (folder / WEIGHTS).unlink(missing_ok=True)
        (folder / "pytorch_model.bin").write_bytes(b"PK")
        return
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "nowhere"}')
    if kind == "adapter":
        (folder / WEIGHTS).unlink(missing_ok=True)
        save_file({"base_model.model.lora_A.weight": torch.zeros(2, 2)}, folder / "adapter_model.safetensors")


MUTATIONS: tuple[Mutation, ...] = (
    *(remove, truncate, append, scribble, pointer, garbage_text, garbage_value, missing_key, header_value, other_dtype),
    *(other_shape, not_finite, lost_tensor, renamed, sharded, other_format),
)


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return None


def _edit(file: Path, rng: random.Random, value: Callable[[], Any]) -> None:
    content = _json(file)
    if isinstance(content, dict) and content:
        content[rng.choice(sorted(content))] = value()
        file.write_text(json.dumps(content))


def _tensors(folder: Path) -> dict[str, Tensor]:
    try:
        return {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}
    except Exception:  # an earlier mutation was enough
        return {}


def _rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    if tensors := _tensors(folder):
        save_file({name: tensor.contiguous() for name, tensor in change(tensors).items()}, folder / WEIGHTS)


def _change(folder: Path, rng: random.Random, change: Callable[[Tensor], Tensor]) -> None:
    def one(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        name = rng.choice(sorted(tensors))
        return tensors | {name: change(tensors[name])}

    _rewrite(folder, one)


def _without(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {other: tensor for other, tensor in tensors.items() if other != name}
