"""How large the task vector of two checkpoints is, layer by layer, and where the two do not fit each other."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from omsweep.merging.names import layer_of
from omsweep.merging.safetensors_file import Track, non_finite
from omsweep.merging.sources import Readable, Weights, open_source
from omsweep.merging.vocabulary import VocabularyFit, fit_vocabulary, fitted
from omsweep.optim.task_vector_file import float_chunks

MODELS = ("base", "sft")


@dataclass(frozen=True, kw_only=True)
class TensorSums:
    """Sums over the entries of some tensors, float64; norms are Euclidean.

    Attributes:
        tau_squares: sum of tau^2.
        base_squares: sum of theta_b^2.
        zeros: entries of tau that are exactly 0.
    """

    tensors: int = 0
    entries: int = 0
    tau_squares: float = 0.0
    base_squares: float = 0.0
    zeros: int = 0

    def __add__(self, other: "TensorSums") -> "TensorSums":
        return TensorSums(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    @property
    def tau_norm(self) -> float:
        """|tau|."""
        return math.sqrt(self.tau_squares)

    @property
    def relative_norm(self) -> float:
        """|tau| / |theta_b|; NaN where theta_b is 0."""
        return math.sqrt(self.tau_squares / self.base_squares) if self.base_squares else math.nan

    @property
    def tau_rms(self) -> float:
        """Root mean square of tau's entries; NaN where there are none."""
        return math.sqrt(self.tau_squares / self.entries) if self.entries else math.nan

    @property
    def zero_share(self) -> float:
        """Entries of tau that are exactly 0, over all entries; NaN where there are none."""
        return self.zeros / self.entries if self.entries else math.nan


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A tensor that base and SFT model hold in different ways, `in_base` and `in_sft` saying how."""

    name: str
    in_base: str
    in_sft: str


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `inspect_task_vector` finds; layers and names in natural order.

    Attributes:
        layers: sums by layer (`model.layers.3`), or by full name for tensors outside of layers.
        only_in_base: names that the SFT model lacks.
        only_in_sft: names that the base model lacks.
        other_shapes: tensors whose shapes differ; not in `layers`.
        other_dtypes: tensors whose dtypes differ.
        non_finite: entries that are NaN or infinite by model (`base`, `sft`) and tensor, where there are any.
        vocabulary: how the base's rows become those of the SFT model; None: they are the same.
    """

    layers: Mapping[str, TensorSums]
    only_in_base: tuple[str, ...]
    only_in_sft: tuple[str, ...]
    other_shapes: tuple[Difference, ...]
    other_dtypes: tuple[Difference, ...]
    non_finite: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    vocabulary: VocabularyFit | None = None

    @property
    def total(self) -> TensorSums:
        """Sums over all layers."""
        return sum(self.layers.values(), TensorSums())

    @property
    def matches(self) -> bool:
        """Whether names and shapes are the same, but for rows of the vocabulary; dtypes may differ."""
        return not (self.only_in_base or self.only_in_sft or self.other_shapes)


def inspect_task_vector(base: Weights, sft: Weights, *, track: Track = iter) -> Inspection:
    """Measure tau = theta_r - theta_b, chunk by chunk.

    Args:
        base: theta_b: tensors by name, or a folder of safetensors files.
        sft: theta_r, as `base`.
        track: wraps the names as they are gone through, for a progress bar.

    Returns:
        Sums over the floating point tensors that both hold in the same shape, and all mismatches. Tensors are counted
        as they are stored: a tied copy is one more. Rows of the vocabulary are those of the SFT model.

    Raises:
        ValueError: a folder without safetensors, or one that cannot be read.
    """
    base_source, sft_tensors = open_source(base), open_source(sft)
    vocabulary = fit_vocabulary(base_source, sft_tensors)
    base_tensors = fitted(base_source, vocabulary)
    both = _in_order(base_tensors.keys() & sft_tensors.keys())
    shapes = {name: [str(tuple(side[name].shape)) for side in (base_tensors, sft_tensors)] for name in both}
    dtypes = {name: [str(side[name].dtype)[len("torch.") :] for side in (base_tensors, sft_tensors)] for name in both}
    other_shapes = _differences(shapes)
    unlike = {difference.name for difference in other_shapes}
    layers: dict[str, TensorSums] = {}
    found: dict[str, dict[str, int]] = {model: {} for model in MODELS}
    for name in track([name for name in both if name not in unlike]):
        if all(side[name].dtype.is_floating_point for side in (base_tensors, sft_tensors)):
            layer = layer_prefix(name)
            bad = dict.fromkeys(MODELS, 0)
            layers[layer] = layers.get(layer, TensorSums()) + _sums(base_tensors[name], sft_tensors[name], bad)
            for model, count in bad.items():
                if count:
                    found[model][name] = count
    return Inspection(
        layers=layers,
        only_in_base=tuple(_in_order(base_tensors.keys() - sft_tensors.keys())),
        only_in_sft=tuple(_in_order(sft_tensors.keys() - base_tensors.keys())),
        other_shapes=other_shapes,
        other_dtypes=_differences(dtypes),
        non_finite={model: counts for model, counts in found.items() if counts},
        vocabulary=vocabulary,
    )


def layer_prefix(name: str) -> str:
    """A parameter name up to its first number, `model.layers.3`; the whole name where no component is a number."""
    layer = layer_of(name)
    return name if layer is None else f"{layer[0]}.{layer[1]}"


def _sums(base: Readable, sft: Readable, bad: dict[str, int]) -> TensorSums:
    """Sums over one tensor; entries that are not finite are counted in `bad`."""
    sums = TensorSums(tensors=1)
    for base_chunk, sft_chunk in float_chunks(base, sft):
        for model, chunk in zip(MODELS, (base_chunk, sft_chunk), strict=True):
            bad[model] += non_finite(chunk)
        tau = sft_chunk - base_chunk
        sums += TensorSums(
            entries=tau.numel(),
            tau_squares=_squares(tau),
            base_squares=_squares(base_chunk),
            zeros=tau.numel() - int(torch.count_nonzero(tau)),
        )
    return sums


def _squares(entries: Tensor) -> float:
    return float(torch.linalg.vector_norm(entries, dtype=torch.float64)) ** 2


def _differences(pairs: Mapping[str, list[str]]) -> tuple[Difference, ...]:
    return tuple(
        Difference(name=name, in_base=in_base, in_sft=in_sft)
        for name, (in_base, in_sft) in pairs.items()
        if in_base != in_sft
    )


def _in_order(names: Iterable[str]) -> list[str]:
    """Sorted with numbers as numbers: layer 2 before layer 10."""

    def rank(part: str) -> tuple[bool, int | str]:
        return (True, int(part)) if part.isdecimal() else (False, part)

    return sorted(names, key=lambda name: [rank(part) for part in name.split(".")])
