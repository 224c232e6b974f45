"""How far a run walks along the task vector, known in advance for `linear` and `ondare`. Torch-free.

tau_travel = sum over merges done (learning rate > 0) of alpha_t * p * rescale: the expected fraction of tau walked.
rescale is 1 for `none` and 1/p for `inverse`; for `norm` it is taken as 1/p, its expectation over masks. Where tau is
clamped after that (`released`), it depends on how large tau's entries are, and is refused.
"""

import math
from collections.abc import Callable
from functools import lru_cache

from omsweep.merging.methods import ALPHA_SCHEDULES, METHODS, RESCALES, SEMANTICS_NAMES, method_names

LR_SCHEDULES = ("constant", "constant_with_warmup", "linear", "cosine")
"""As transformers' schedulers of the same names."""


def lr_multiplier(lr_scheduler: str, *, steps: int, warmup_steps: int) -> Callable[[int], float]:
    """The learning rate after so many steps, from 0, as a fraction of the initial one.

    `constant` ignores `warmup_steps`, as transformers' scheduler of that name does.

    Raises:
        ValueError: an unknown scheduler, `steps` < 1 or `warmup_steps` < 0.
    """
    if lr_scheduler not in LR_SCHEDULES:
        raise ValueError(f"lr_scheduler must be one of {', '.join(LR_SCHEDULES)}, got {lr_scheduler!r}")
    if steps < 1 or warmup_steps < 0:
        raise ValueError(f"steps must be >= 1 and warmup_steps >= 0, got steps={steps}, warmup_steps={warmup_steps}")
    return lambda done: _multiplier(lr_scheduler, done, steps, warmup_steps)


def expected_tau_travel(
    alpha: float,
    *,
    method: str,
    semantics: str | None = None,
    density: float = 1.0,
    steps: int,
    gap_steps: int = 1,
    warmup_steps: int = 0,
    alpha_schedule: str | None = None,
    lr_scheduler: str = "constant",
    rescale: str | None = None,
    clip: float | None = None,
) -> float:
    """The fraction of tau that a run with merging weight `alpha` walks in expectation; arguments as below.

    Raises:
        ValueError: another method than `linear` or `ondare`, tau is clamped, or a value out of range.
    """
    known = method_names(lambda row: row.travel_is_known)
    if method not in known:
        raise ValueError(f"tau_travel is known in advance for {' and '.join(known)} only, got {method!r}")
    if alpha_schedule not in (None, *ALPHA_SCHEDULES):
        raise ValueError(f"alpha_schedule must be one of {', '.join(ALPHA_SCHEDULES)}, got {alpha_schedule!r}")
    if gap_steps < 1:
        raise ValueError(f"gap_steps must be a whole number >= 1, got {gap_steps!r}")
    kept = _kept_share_of_tau(method, semantics, density, rescale, clip)
    return alpha * (kept * _summed(lr_scheduler, steps, warmup_steps, gap_steps, alpha_schedule == "follow_lr"))


def alpha_for_travel(
    tau_travel: float,
    *,
    method: str,
    semantics: str | None = None,
    density: float = 1.0,
    steps: int,
    gap_steps: int = 1,
    warmup_steps: int = 0,
    alpha_schedule: str | None = None,
    lr_scheduler: str = "constant",
    rescale: str | None = None,
    clip: float | None = None,
) -> float:
    """The merging weight that walks the fraction `tau_travel` of tau.

    Args:
        tau_travel: wanted fraction, > 0.
        method: `linear` or `ondare`.
        semantics: as in `OnlineMerge`; gives the rescaling where `rescale` is None.
        density: p.
        steps: optimizer steps of the run.
        gap_steps: K; merges fall on steps K, 2K, ...
        warmup_steps: a merge on a step with learning rate 0 (step 1 of a warm-up) is not done.
        alpha_schedule: `constant` (default) or `follow_lr`.
        lr_scheduler: one of `LR_SCHEDULES`.
        rescale: overrides the semantics.
        clip: overrides the semantics; `inf` for no clamp.

    Raises:
        ValueError: no merge is done, the alpha that follows is over 1, another method, tau is clamped, or a value out
            of range.
    """
    if not (tau_travel > 0.0 and math.isfinite(tau_travel)):
        raise ValueError(f"tau_travel must be > 0 and finite, got {tau_travel!r}")
    per_alpha = expected_tau_travel(
        1.0,
        method=method,
        semantics=semantics,
        density=density,
        steps=steps,
        gap_steps=gap_steps,
        warmup_steps=warmup_steps,
        alpha_schedule=alpha_schedule,
        lr_scheduler=lr_scheduler,
        rescale=rescale,
        clip=clip,
    )
    if per_alpha == 0.0:
        raise ValueError(
            f"tau_travel {tau_travel} cannot be reached: no merge in {steps} steps with gap_steps {gap_steps}"
        )
    alpha = tau_travel / per_alpha
    if alpha > 1.0:
        raise ValueError(
            f"tau_travel {tau_travel} needs alpha {alpha:.4g}, and alpha must be in [0, 1]; "
            f"the furthest this run can walk is {per_alpha:.4g}"
        )
    return alpha


@lru_cache(maxsize=4096)
def _summed(lr_scheduler: str, steps: int, warmup_steps: int, gap_steps: int, follow_lr: bool) -> float:
    """The learning rate's multipliers over all merges or, without `follow_lr`, how many merges are done."""
    multiplier = lr_multiplier(lr_scheduler, steps=steps, warmup_steps=warmup_steps)
    if follow_lr:
        return math.fsum(multiplier(done) for done in range(gap_steps - 1, steps, gap_steps))
    # only the first step of a warm-up has the learning rate 0
    return float(steps // gap_steps - (gap_steps == 1 and multiplier(0) == 0.0))


def _multiplier(lr_scheduler: str, done: int, steps: int, warmup: int) -> float:
    """The learning rate after `done` of `steps` steps, as a fraction of the initial one."""
    if lr_scheduler == "constant":
        return 1.0
    if done < warmup:
        return done / warmup
    decaying = max(1, steps - warmup)
    if lr_scheduler == "linear":
        return max(0.0, (steps - done) / decaying)
    if lr_scheduler == "cosine":
        return max(0.0, 0.5 * (1 + math.cos(math.pi * (done - warmup) / decaying)))
    return 1.0


def _kept_share_of_tau(
    method: str, semantics: str | None, density: float, rescale: str | None, clip: float | None
) -> float:
    """Expected p * rescale."""
    if not 0.0 < density <= 1.0:
        raise ValueError(f"density must be in (0, 1], got {density!r}")
    if rescale not in (None, *RESCALES):
        raise ValueError(f"rescale must be one of {', '.join(RESCALES)}, got {rescale!r}")
    row = METHODS[method]
    if row.sparsifier == "all":
        return 1.0
    if row.needs_semantics and semantics not in SEMANTICS_NAMES:
        raise ValueError(f"method {method} needs semantics: one of {', '.join(SEMANTICS_NAMES)}, got {semantics!r}")
    says = row.open_knobs(semantics)
    effective, bound = rescale or says.get("rescale", "none"), says.get("clip") if clip is None else clip
    if bound is not None and not math.isinf(bound):
        raise ValueError(
            f"tau_travel is not known in advance where tau is clamped (clip {bound:g}): it depends on how large tau's "
            "entries are; give alpha in its place"
        )
    return density if effective == "none" else 1.0
