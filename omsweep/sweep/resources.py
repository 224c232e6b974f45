"""How many trials run at once and what each worker occupies, from the resources free to this job."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from omsweep.sweep.schema import Train

TRIAL_CPUS = 0.1
"""Share of a CPU held by a trial's own actor under `backend: train`; its workers are placed outside it."""


@dataclass(frozen=True)
class Placement:
    """Trials at once, and CPUs and GPUs of each worker (of the trial's own actor under `backend: inprocess`)."""

    concurrent_trials: int
    worker_cpus: float
    worker_gpus: float


def place(train: Train, free: Mapping[str, float]) -> Placement:
    """Fit `c` concurrent trials of `workers` workers into the free CPUs and GPUs.

    Without declared CPUs a worker gets (free CPUs - 0.1 c) / (workers c), at most 1, so that c trials and all their
    workers fit at once: a trial that holds its 0.1 CPU while its workers wait for ever is the deadlock this avoids.

    Args:
        train: the file's `train` section.
        free: Ray's resource counts, `CPU` and `GPU`.

    Raises:
        ValueError: not even one trial can be placed, with what it needs and what is free.
    """
    declared, workers = train.resources_per_worker, train.workers
    overhead = TRIAL_CPUS if train.backend == "train" else 0.0
    cpus, gpus = free.get("CPU", 0.0), free.get("GPU", 0.0)
    limits = []
    if declared.gpus:
        limits.append(math.floor(gpus / (workers * declared.gpus) + 1e-9))
    if declared.cpus is not None:
        limits.append(math.floor(cpus / (workers * declared.cpus + overhead) + 1e-9))
    else:
        limits.append(max(1, math.floor(cpus / workers)) if cpus > overhead else 0)
    fit = min(limits)
    if fit < 1:
        wanted = declared.cpus if declared.cpus is not None else "some"
        raise ValueError(
            f"train.resources_per_worker cannot be placed: a trial needs {workers} worker(s) of {wanted} CPUs and"
            f" {declared.gpus:g} GPUs, and {cpus:g} CPUs and {gpus:g} GPUs are free"
        )
    concurrent = min(fit, train.concurrent_trials or fit)
    share = (cpus - overhead * concurrent) / (workers * concurrent)
    return Placement(concurrent, declared.cpus if declared.cpus is not None else min(1.0, share), declared.gpus)
