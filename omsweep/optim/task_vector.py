"""Task vectors: tau = theta_r - theta_b by canonical parameter name, controls for it, and the check that one fits."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from omsweep.merging.names import canonical_name, listed
from omsweep.merging.randomness import mask_key, uniform_bits
from omsweep.merging.rotation import rotated
from omsweep.merging.sources import HeldTensors, Readable
from omsweep.merging.vocabulary import fit_vocabulary, fitted


def task_vector(base_model: nn.Module, sft_model: nn.Module) -> dict[str, Tensor]:
    """tau = theta_r - theta_b of two loaded models.

    Returns:
        float32 tensors by canonical name, in the order of `sft_model.named_parameters()`, so that tied weights appear
        once; on the devices of `sft_model`.

    Raises:
        ValueError: the two models do not have the same parameter names and shapes, but for rows of the vocabulary,
            which are matched by place; up to five are listed.
    """
    base = {canonical_name(name): parameter for name, parameter in base_model.named_parameters()}
    sft = {canonical_name(name): parameter for name, parameter in sft_model.named_parameters()}
    held = HeldTensors(base)
    rows = fitted(held, fit_vocabulary(held, HeldTensors(sft)))
    _check_same("base model", rows, "SFT model", sft)
    with torch.no_grad():
        return {name: theirs.float() - _whole(rows[name]).to(theirs.device).float() for name, theirs in sft.items()}


def check_task_vector(
    task_vector: Mapping[str, Tensor] | Mapping[str, Readable],
    parameters: Mapping[str, Tensor],
    *,
    what: str = "task vector",
) -> None:
    """Check that every trainable parameter has an entry of its shape and that there is nothing else.

    Args:
        task_vector: by canonical name.
        parameters: by canonical name; the frozen ones may have an entry but need none.
        what: how messages call it.

    Raises:
        ValueError: missing or extra names, or other shapes; up to five are listed.
    """
    trainable = {
        name: parameter for name, parameter in parameters.items() if parameter.requires_grad or name in task_vector
    }
    _check_same(what, task_vector, "model", trainable)


def permuted(tau: Tensor, name: str) -> Tensor:
    """The entries of one tensor of a task vector in an order drawn by hash of its canonical name.

    The order is that of the entries' bits in a stream of its own, which never tie: the same for every seed, trial,
    process and machine. Norm, magnitudes and thresholds stay; which entry stands where does not.
    """
    order = torch.argsort(uniform_bits(tau.numel(), mask_key(0, 0, "permutation", name)))
    return tau.reshape(-1)[order].view(tau.shape)


def flipped(tau: Tensor, _name: str) -> Tensor:
    """One tensor of a task vector with every sign flipped: away from what SFT added."""
    return -tau


CONTROLS: Mapping[str, Callable[[Tensor, str], Tensor]] = {
    "permuted": permuted,
    "rotated": rotated,
    "flipped": flipped,
}
"""Task vectors made of the real one, tensor by tensor. An effect of tau's direction must be absent under `rotated`,
which keeps its singular values, and under `permuted`, which keeps its entries and loses the large singular values."""


def _whole(tensor: Readable) -> Tensor:
    return tensor.read(0, tensor.shape.numel()).view(tensor.shape)


def _check_same(
    left: str, ours: Mapping[str, Tensor] | Mapping[str, Readable], right: str, theirs: Mapping[str, Tensor]
) -> None:
    problems = []
    missing = [name for name in theirs if name not in ours]
    extra = [name for name in ours if name not in theirs]
    if missing:
        problems.append(f"missing {listed(missing)}")
    if extra:
        problems.append(f"extra {listed(extra)}")
    shapes = [
        f"{name} {tuple(ours[name].shape)} instead of {tuple(theirs[name].shape)}"
        for name in theirs
        if name in ours and ours[name].shape != theirs[name].shape
    ]
    if shapes:
        problems.append(f"of another shape {listed(shapes)}")
    if problems:
        raise ValueError(f"the {left}'s names must be the {right}'s parameter names: {'; '.join(problems)}")
