"""What an optimizer asks when it merges: settings opened once, tau and theta_r at hand, keys per tensor and step."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from omsweep.merging.method import Axes, Merged, gap_movement, merge
from omsweep.merging.methods import METHODS
from omsweep.merging.randomness import MaskKey, mask_key
from omsweep.optim import reference as paper
from omsweep.optim.settings import OnlineMerge, ResolvedMerge
from omsweep.optim.task_vector import check_task_vector


class Tier(NamedTuple):
    """One implementation of the merging lines; all tiers share these two signatures."""

    merge: Callable[..., Merged]
    gap_movement: Callable[[Tensor, Tensor, Tensor], Tensor]


TIERS: Mapping[str, Tier] = {
    "plain": Tier(merge, gap_movement),
    "reference": Tier(paper.merge, paper.gap_movement),
}


class Merger:
    """Merges one parameter at a time.

    Args:
        settings: what to merge.
        parameters: by canonical name.
        task_vector: tau by canonical name, needed where tau takes part; otherwise it only feeds diagnostics.
        reference: theta_r by canonical name, needed by `anchor`.
        path: `auto` (the fastest implemented tier, `plain`), `plain` or `reference` (paper-literal, slow).

    Raises:
        ValueError: an unknown path, a missing task vector or reference, or one that does not fit the parameters.
    """

    def __init__(
        self,
        settings: OnlineMerge,
        parameters: Mapping[str, Tensor],
        *,
        task_vector: Mapping[str, Tensor] | None,
        reference: Mapping[str, Tensor] | None,
        path: str,
    ) -> None:
        if path not in ("auto", *TIERS):
            raise ValueError(f"path must be one of auto, {', '.join(TIERS)}, got {path!r}")
        self.settings: ResolvedMerge = settings.resolved()
        self.method = METHODS[self.settings.method]
        self._tier = TIERS["plain" if path == "auto" else path]
        self._axes = axes_of(self.settings)
        self._tau = _checked("task vector", task_vector, parameters, self.settings.needs_task_vector)
        self._reference = _checked("reference", reference, parameters, self.settings.needs_reference)

    @property
    def has_task_vector(self) -> bool:
        """Whether a task vector was given."""
        return self._tau is not None

    def merges_at(self, step: int) -> bool:
        """Whether step t (from 1) ends a gap."""
        return step % self.settings.gap_steps == 0

    def alpha(self, *, lr: float, constructed_lr: float) -> float:
        """alpha_t under the schedule; `follow_lr`: alpha * lr / the group's learning rate at construction.

        Raises:
            ValueError: alpha_t would leave [0, 1].
        """
        if self.settings.alpha_schedule == "constant":
            return self.settings.alpha
        followed = self.settings.alpha * lr / constructed_lr if constructed_lr else float("nan")
        if not 0.0 <= followed <= 1.0:
            raise ValueError(
                f"alpha must be in [0, 1], and follow_lr makes it {followed} "
                f"(learning rate {lr}, at construction {constructed_lr})"
            )
        return followed

    def merge(self, name: str, update: Tensor, *, step: int, alpha: float) -> Merged:
        """C((1-alpha) S(update), alpha S(tau)) of parameter `name` at merge step `step`; float32."""
        return self._tier.merge(
            self.method,
            update,
            self.tau(name, update.device) if self.settings.needs_task_vector else None,
            alpha=alpha,
            axes=self._axes,
            update_key=self._key(step, "update", name),
            tau_key=self._key(0 if self.settings.tau_mask == "fixed" else step, "task_vector", name),
        )

    def gap_movement(self, update: Tensor, gap_update: Tensor, merged: Tensor) -> Tensor:
        """See `omsweep.merging.method.gap_movement`."""
        return self._tier.gap_movement(update, gap_update, merged)

    def pulled(self, name: str, weights: Tensor, alpha: float) -> Tensor:
        """Weights of parameter `name` after the pull towards theta_r (`anchor`)."""
        assert self.method.pull is not None, f"{self.settings.method} does not pull"
        return self.method.pull(weights, _held(self._reference, name, weights.device), alpha)

    def tau(self, name: str, device: torch.device) -> Tensor:
        """The task vector of parameter `name`, float32, on `device`."""
        return _held(self._tau, name, device)

    def _key(self, step: int, stream: str, name: str) -> MaskKey:
        return mask_key(self.settings.seed, step, stream, name)


def axes_of(settings: ResolvedMerge) -> Axes:
    """The plain values of resolved settings that the mathematics takes."""
    return Axes(
        density=settings.density,
        rescale=settings.rescale or "none",
        elect=settings.elect or "none",
        clip=settings.clip,
        min_kept=1 if settings.min_kept is None else settings.min_kept,
    )


def _checked(
    what: str, given: Mapping[str, Tensor] | None, parameters: Mapping[str, Tensor], needed: bool
) -> dict[str, Tensor] | None:
    if given is None:
        if needed:
            raise ValueError(f"{what.replace(' ', '_')} must be given: these merge settings need it, got None")
        return None
    check_task_vector(given, parameters, what=what)
    return dict(given)


def _held(tensors: dict[str, Tensor] | None, name: str, device: torch.device) -> Tensor:
    """The tensor of `name`, moved to the parameter's device and float32 once."""
    assert tensors is not None, "asked for a tensor that was not needed at construction"
    held = tensors[name]
    if held.device != device or held.dtype != torch.float32:
        held = tensors[name] = held.detach().to(device=device, dtype=torch.float32)
    return held
