"""Offline merging of finished models, in memory or from folder to folder; the mathematics is `merging.mixture`'s.

Weights are used as given, not normalised: for a policy with weight w and its SFT model with 1 - w, `linear` is plain
interpolation.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omsweep.merging.checkpoint import check_output, write_checkpoint
from omsweep.merging.mixture import OFFLINE_METHODS, Mixture, mixed_pieces
from omsweep.merging.names import listed, weights_by_name
from omsweep.merging.posthoc import PosthocPoint
from omsweep.merging.safetensors_file import Track, folder_hash, non_finite, refuse_non_finite
from omsweep.merging.sources import FolderTensors, Source, Weights, open_source, pieces, same_entries, tied_names
from omsweep.merging.vocabulary import fit_vocabulary, fitted

DERIVED = ("*rotary_emb.inv_freq",)
"""Tensors of old checkpoints that follow from the configuration: models need not agree on having them."""

Output = str | os.PathLike[str] | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A merge ready to be computed.

    Attributes:
        mixture: what is put together.
        sources: the models by name.
        layout: the model whose names, dtypes, devices and files the result has.
        weights: the terms' weights, by name of the tensor.
        tied: tensors that are another's, see `tied_names`.
    """

    mixture: Mixture
    sources: Mapping[str, Source]
    layout: str
    weights: Callable[[str], Sequence[float]]
    tied: Mapping[str, str]

    def merged(self, name: str) -> Iterator[Tensor]:
        """One tensor of the result in flat pieces, in its final dtype; ValueError for entries that are not finite."""
        name = self.tied.get(name, name)
        like = self.sources[self.layout][name]
        if not like.dtype.is_floating_point or any(name not in source for source in self.sources.values()):
            yield from (entries for _, entries in pieces(like))
            return
        tensors = {model: source[name] for model, source in self.sources.items()}
        bad = 0
        for piece in mixed_pieces(self.mixture, tensors, self.weights(name), name=name, device=like.device):
            cast = piece.to(like.dtype)
            bad += non_finite(cast)
            yield cast
        if bad:
            for model, tensor in tensors.items():
                refuse_non_finite(model, {name: sum(non_finite(entries) for _, entries in pieces(tensor))})
            raise ValueError(
                f"{bad} merged entries of {name} overflow {str(like.dtype).removeprefix('torch.')}, whose largest"
                f" number is {torch.finfo(like.dtype).max:.5g}, and all inputs are finite: take a smaller weight, or"
                f" store the {self.layout} in bfloat16 or float32"
            )


def merge(
    base: Weights,
    models: Sequence[Weights],
    method: str,
    weights: Sequence[float],
    density: float = 1.0,
    seed: int = 0,
    *,
    output: Output = None,
    track: Track = iter,
) -> dict[str, Tensor]:
    """Merge models into one set of weights: theta_b + C_i(w_i S(theta_i - theta_b)).

    Args:
        base: theta_b: a state dict, or a folder of safetensors files.
        models: theta_i, each as `base`, with the same names and shapes.
        method: `linear`, `task_arithmetic` (both: sum), `dare` (each entry kept with probability p, rescaled by 1/p),
            `ties` (top-p by magnitude per tensor; sign of the sum elected, mean of what agrees, weighted by |w_i|) or
            `ties_sum` (the same, agreeing terms summed).
        weights: w_i, one per model, finite; a factor common to all does nothing under `ties`.
        density: p in (0, 1]; only for `dare`, `ties` and `ties_sum`.
        seed: keys masks and ties.
        output: a folder to write, with the files of `base`, or of the first model as above, which must be a folder
            then, and the configuration and tokenizer files of the first model folder; see `write_checkpoint`. Nothing
            is returned then.
        track: wraps the names of the tensors as they are gone through, for a progress bar: once for each model that is
            hashed for the record and once for the merge.

    Returns:
        Merged tensors by name, in the dtype and on the device of `base`, or of the first model where its vocabulary has
        other rows (see `omsweep.merging.vocabulary`); empty when `output` is given. The arithmetic is float64. Tensors
        that are not floating point must be equal everywhere and are passed on. Tied tensors stay tied, see
        `tied_names`.

    Raises:
        ValueError: names or shapes differ (up to five are listed), a value is out of range, an input holds entries that
            are not finite, or the result has numbers that its dtype does not have.
    """
    _check(models, method, weights, density)
    named = {"base": base} | {f"model {number}": model for number, model in enumerate(models)}
    differences = tuple((model, "base") for model in named if model != "base")
    mixture = Mixture(method=OFFLINE_METHODS[method], start="base", differences=differences, density=density, seed=seed)
    other_rows = fit_vocabulary(open_source(base), open_source(models[0])) is not None
    plan = _planned(mixture, named, "model 0" if other_rows else "base", lambda _: weights)
    record = {"method": method, "weights": list(weights), "density": density, "seed": seed}
    return _finished(plan, named, output, record, {}, (*models, base), track)


def merge_point(
    point: PosthocPoint,
    models: Mapping[str, Weights],
    *,
    output: Output = None,
    inputs: Mapping[str, Mapping[str, Any]] | None = None,
    track: Track = iter,
) -> dict[str, Tensor]:
    """Compute a post-hoc point: `point.row.formula` over base, SFT model and policy.

    Args:
        point: what to compute.
        models: state dicts or folders of safetensors files by `base`, `sft` and `policy`; those that
            `point.row.models` names are needed.
        output: a folder to write, with the files, configuration and tokenizer of the policy (which must be a folder
            then); see `write_checkpoint`. Nothing is returned then.
        inputs: what the record says of each model; one without `weights_hash` is read once more to find it.
        track: wraps the names of the tensors as they are gone through, for a progress bar: once for each model that is
            hashed for the record and once for the merge.

    Returns:
        Tensors by name, in the dtype and on the device of the policy; otherwise as `merge`.

    Raises:
        ValueError: a model is missing, or as for `merge`.
    """
    row = point.row
    missing = [model for model in row.models if model not in models]
    if missing:
        raise ValueError(f"method {point.method} needs {', '.join(row.models)}, missing {', '.join(missing)}")
    named = {model: models[model] for model in row.models}
    mixture = Mixture(
        method=OFFLINE_METHODS[row.merge],
        start=row.start,
        differences=row.differences,
        density=point.density,
        seed=point.seed,
    )
    by_name = weights_by_name(point.named_weights, open_source(named["policy"]))
    plan = _planned(mixture, named, "policy", lambda name: row.weights(by_name[name]))
    return _finished(plan, named, output, point.as_data(), inputs or {}, (named["policy"],), track)


def check_same_tensors(models: Mapping[str, Weights], layout: str) -> None:
    """Check that models can be merged, as a merge of them does before anything is computed.

    Of folders the headers are read, and what may be a tied copy or is not floating point.

    Args:
        models: state dicts or folders of safetensors files, by what messages call them.
        layout: the one that the others must be like.

    Raises:
        ValueError: names or shapes differ (up to five are listed), or tensors that are not floating point.
    """
    _opened(models, layout)


def _opened(models: Mapping[str, Weights], layout: str) -> tuple[dict[str, Source], dict[str, str]]:
    """The models as sources and their `tied_names`, checked; the base with the rows of the layout's vocabulary."""
    opened = {model: open_source(each) for model, each in models.items()}
    sources: dict[str, Source] = {**opened}
    if "base" in opened and layout != "base":
        sources["base"] = fitted(opened["base"], fit_vocabulary(opened["base"], opened[layout]))
    tied = tied_names(list(sources.values()))
    _check_same_tensors(sources, layout, tied)
    return sources, tied


def _planned(
    mixture: Mixture, models: Mapping[str, Weights], layout: str, weights: Callable[[str], Sequence[float]]
) -> Plan:
    sources, tied = _opened(models, layout)
    return Plan(mixture=mixture, sources=sources, layout=layout, weights=weights, tied=tied)


def _finished(
    plan: Plan,
    models: Mapping[str, Weights],
    output: Output,
    record: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    carried: Sequence[Weights],
    track: Track,
) -> dict[str, Tensor]:
    """The tensors, or a folder with them; `known`: see `_described`; `carried`: the first folder's files go along."""
    layout = plan.sources[plan.layout]
    if output is None:
        return _in_memory(plan, track)
    if not isinstance(layout, FolderTensors):
        raise ValueError(f"output needs a {plan.layout} that is a folder of safetensors files, got a state dict")
    check_output(Path(output))
    inputs = {model: _described(weights, known.get(model, {}), track) for model, weights in models.items()}
    content = {**record, "inputs": inputs, "omsweep": version("omsweep")}
    folder = next(Path(model) for model in carried if not isinstance(model, Mapping))
    write_checkpoint(Path(output), plan.merged, layout=layout, carried=folder, record=content, track=track)
    return {}


def _in_memory(plan: Plan, track: Track) -> dict[str, Tensor]:
    layout = plan.sources[plan.layout]
    merged: dict[str, Tensor] = {}
    for name in track(sorted(layout, key=lambda name: name in plan.tied)):
        leader = plan.tied.get(name)
        merged[name] = merged[leader] if leader else _gathered(plan, name)
    return {name: merged[name] for name in layout}


def _gathered(plan: Plan, name: str) -> Tensor:
    like = plan.sources[plan.layout][name]
    result = torch.empty(like.shape, dtype=like.dtype, device=like.device)
    low = 0
    for piece in plan.merged(name):
        result.view(-1)[low : low + piece.numel()] = piece
        low += piece.numel()
    return result


def _described(weights: Weights, known: Mapping[str, Any], track: Track) -> dict[str, Any]:
    """What the record says of a model; the hash of a folder is computed where it is not known."""
    if isinstance(weights, Mapping):
        return dict(known)
    said = dict(known) or {"path": str(weights)}
    return said if "weights_hash" in said else said | {"weights_hash": folder_hash(Path(weights), track=track)}


def _check(models: Sequence[Weights], method: str, weights: Sequence[float], density: float) -> None:
    if method not in OFFLINE_METHODS:
        raise ValueError(f"method must be one of {', '.join(OFFLINE_METHODS)}, got {method!r}")
    if not models or len(models) != len(weights):
        raise ValueError(f"weights must be one per model and at least one, got {len(weights)} for {len(models)}")
    if not all(math.isfinite(weight) for weight in weights):
        raise ValueError(f"weights must be finite, got {list(weights)}")
    if not 0.0 < density <= 1.0:
        raise ValueError(f"density must be in (0, 1], got {density!r}")
    if density < 1.0 and OFFLINE_METHODS[method].sparsifier == "all":
        raise ValueError(f"method {method} does not take density, got {density!r}")


def _check_same_tensors(sources: Mapping[str, Source], layout: str, tied: Mapping[str, str]) -> None:
    """Every model has the layout's tensors in their shapes, or a tied one in place, and equal ones of whole numbers.

    Only `DERIVED` ones may be missing.
    """
    wanted = sources[layout]
    for model, source in sources.items():
        there = [name for name in wanted if tied.get(name, name) in source]
        missing = sorted(name for name in set(wanted).difference(there) if not _is_derived(name))
        extra = sorted(name for name in source if tied.get(name, name) not in wanted and not _is_derived(name))
        if missing or extra:
            raise ValueError(
                f"{model} must have the {layout}'s names: missing {listed(missing)}; extra {listed(extra)}"
            )
        both = [(name, tuple(wanted[name].shape), tuple(source[tied.get(name, name)].shape)) for name in there]
        shapes = [f"{name} {theirs} instead of {ours}" for name, ours, theirs in both if ours != theirs]
        if shapes:
            raise ValueError(f"{model} must have the {layout}'s shapes, others at {listed(shapes)}")
        for name in there:
            ours, theirs = wanted[name], source[tied.get(name, name)]
            floats = ours.dtype.is_floating_point and theirs.dtype.is_floating_point
            if not floats and not same_entries(ours, theirs):
                raise ValueError(f"{name} is {ours.dtype} and differs between models; only floating point is merged")


def _is_derived(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in DERIVED)
