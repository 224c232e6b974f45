"""Offline merging of finished models: theta_b + consensus over models of w_i * S(theta_i - theta_b).

Its own table of methods. Weights are used as given, not normalised: for a policy with weight w and its SFT model with
1 - w, `linear` is plain interpolation.
"""

import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omsweep.merging.folders import SafetensorsFolder, Weights, opened_weights
from omsweep.merging.listing import listed
from omsweep.merging.method import Mask
from omsweep.merging.randomness import mask_key
from omsweep.merging.sparsify import random_mask, sparsify, top_mask


@dataclass(frozen=True, kw_only=True)
class OfflineMethod:
    """One row of the table: sparsifier, rescaling of kept entries, consensus over weighted terms."""

    mask: Mask | None = None
    rescale: str = "none"
    combine: Callable[[Tensor], Tensor]
    source: str


def summed(terms: Tensor) -> Tensor:
    """Sum over models; terms `[models, ...]`."""
    return terms.sum(dim=0)


def agreeing_sum(terms: Tensor) -> Tensor:
    """Sum of the terms whose sign is that of the sum of all; terms `[models, ...]`."""
    elected = torch.sign(terms.sum(dim=0))
    return torch.where(torch.sign(terms) == elected, terms, 0.0).sum(dim=0)


OFFLINE_METHODS: Mapping[str, OfflineMethod] = {
    "linear": OfflineMethod(combine=summed, source="arXiv:2203.05482"),
    "task_arithmetic": OfflineMethod(combine=summed, source="arXiv:2212.04089"),
    "dare": OfflineMethod(mask=random_mask, rescale="inverse", combine=summed, source="arXiv:2311.03099"),
    "ties": OfflineMethod(mask=top_mask, combine=agreeing_sum, source="arXiv:2306.01708"),
}


def merge(
    base: Weights,
    models: Sequence[Weights],
    method: str,
    weights: Sequence[float],
    density: float = 1.0,
    seed: int = 0,
    *,
    output: str | os.PathLike[str] | None = None,
) -> dict[str, Tensor]:
    """Merge models into one set of weights.

    Args:
        base: theta_b: a state dict, or a folder of safetensors files.
        models: theta_i, each as `base`, with the same names and shapes.
        method: `linear`, `task_arithmetic` (both: sum), `dare` (each entry kept with probability p, rescaled by 1/p) or
            `ties` (top-p by magnitude per tensor; sign of the sum elected, agreeing terms summed).
        weights: w_i, one per model, finite.
        density: p in (0, 1]; only for `dare` and `ties`.
        seed: keys masks and ties.
        output: a folder to write, with the files of `base` (which must be a folder then) and the configuration and
            tokenizer files of the first model folder. Tensors are merged file by file, and nothing is returned.

    Returns:
        Merged tensors by name, in the dtype and on the device of `base`; empty when `output` is given. The arithmetic
        is float64. Tensors that are not floating point must be equal everywhere and are passed on. Tied tensors of
        state dicts (same memory in base and in every model) stay tied.

    Raises:
        ValueError: names or shapes differ (up to five are listed), or a value is out of range.
    """
    _check(models, method, weights, density)
    with ExitStack() as files:
        sources = [opened_weights(entry, files) for entry in (base, *models)]
        _check_same_tensors(sources)
        if output is not None:
            _write(Path(output), base, models, sources, method, weights, density, seed)
            return {}
        in_memory = not any(isinstance(source, SafetensorsFolder) for source in sources)
        merged: dict[str, Tensor] = {}
        tied: dict[tuple[Any, ...], tuple[Tensor, list[Tensor]]] = {}  # inputs are kept, so that no address is reused
        for name in sources[0]:
            tensors = [source[name] for source in sources]
            memory = tuple((tensor.data_ptr(), tensor.shape, tensor.stride()) for tensor in tensors)
            if in_memory and tensors[0].numel() > 0 and memory in tied:
                merged[name] = tied[memory][0]
                continue
            merged[name] = merge_tensors(tensors[0], tensors[1:], method, weights, density, seed, name=name)
            if in_memory:
                tied[memory] = (merged[name], tensors)
        return merged


def merge_tensors(
    base: Tensor,
    models: Sequence[Tensor],
    method: str,
    weights: Sequence[float],
    density: float,
    seed: int,
    *,
    name: str,
) -> Tensor:
    """One tensor's merge, see `merge`; `name` keys its masks."""
    if not base.is_floating_point():
        if any(not torch.equal(base, model.to(base.device)) for model in models):
            raise ValueError(f"{name} is {base.dtype} and differs between models; only floating point is merged")
        return base.clone()
    row = OFFLINE_METHODS[method]
    terms = []
    for number, (model, weight) in enumerate(zip(models, weights, strict=True)):
        delta = model.to(device=base.device, dtype=torch.float64) - base.double()
        key = mask_key(seed, number, "offline", name)
        keep = row.mask(delta.float(), density=density, min_kept=1, key=key) if row.mask else None
        terms.append(weight * sparsify(delta, keep, density=density, rescale=row.rescale))
    return (base.double() + row.combine(torch.stack(terms))).to(base.dtype)


def _write(
    output: Path,
    base: Weights,
    models: Sequence[Weights],
    sources: Sequence[Mapping[str, Tensor]],
    method: str,
    weights: Sequence[float],
    density: float,
    seed: int,
) -> None:
    from safetensors.torch import save_file

    folder = sources[0]
    if isinstance(base, Mapping) or not isinstance(folder, SafetensorsFolder):
        raise ValueError("output needs a base that is a folder of safetensors files, got a state dict")
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"output must be a new or empty folder, got {output}")
    output.mkdir(parents=True, exist_ok=True)
    for file, names in folder.names_by_file.items():
        tensors = {
            name: merge_tensors(
                folder[name], [source[name] for source in sources[1:]], method, weights, density, seed, name=name
            ).contiguous()
            for name in names
        }
        save_file(tensors, output / file, metadata={"format": "pt"})
    for index in Path(base).glob("*.safetensors.index.json"):
        shutil.copyfile(index, output / index.name)
    first = next((Path(model) for model in models if not isinstance(model, Mapping)), Path(base))
    for file_path in first.iterdir():
        if file_path.suffix in (".json", ".jinja", ".model", ".txt") and "safetensors" not in file_path.name:
            shutil.copyfile(file_path, output / file_path.name)


def _check(models: Sequence[Weights], method: str, weights: Sequence[float], density: float) -> None:
    if method not in OFFLINE_METHODS:
        raise ValueError(f"method must be one of {', '.join(OFFLINE_METHODS)}, got {method!r}")
    if not models or len(models) != len(weights):
        raise ValueError(f"weights must be one per model and at least one, got {len(weights)} for {len(models)}")
    if not all(math.isfinite(weight) for weight in weights):
        raise ValueError(f"weights must be finite, got {list(weights)}")
    if not 0.0 < density <= 1.0:
        raise ValueError(f"density must be in (0, 1], got {density!r}")
    if density < 1.0 and OFFLINE_METHODS[method].mask is None:
        raise ValueError(f"method {method} does not take density, got {density!r}")


def _check_same_tensors(sources: Sequence[Mapping[str, Tensor]]) -> None:
    base = sources[0]
    for number, model in enumerate(sources[1:]):
        missing = sorted(base.keys() - model.keys())
        extra = sorted(model.keys() - base.keys())
        if missing or extra:
            raise ValueError(
                f"model {number} must have the base's names: missing {listed(missing)}; extra {listed(extra)}"
            )
        shapes = [name for name in base if base[name].shape != model[name].shape]
        if shapes:
            raise ValueError(f"model {number} must have the base's shapes, others at {listed(shapes)}")
