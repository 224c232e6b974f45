"""What each worker occupies, and how many trials then run at once with the resources free to this job.

Imports no search space: a trial's processes read `Placement` too.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omsweep.families.family import GIB

if TYPE_CHECKING:
    from omsweep.space.schema import Train

TRIAL_CPUS = 0.1
"""Share of a CPU held by a trial's own actor under `backend: train`; its workers are placed outside it."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Trials at once, and what each worker gets (the trial's own actor under `backend: inprocess`).

    `worker_memory` is host memory in bytes, 0 where none is declared.
    """

    worker_cpus: float
    worker_gpus: float
    worker_memory: float = 0.0
    concurrent_trials: int = 1

    def of_worker(self) -> dict[str, float]:
        """One worker's bundle, under Ray's names, without what is 0."""
        bundle = {"CPU": self.worker_cpus, "GPU": self.worker_gpus, "memory": self.worker_memory}
        return {name: amount for name, amount in bundle.items() if amount}


def task_options(placement: Placement, name: str) -> dict[str, Any]:
    """What a Ray task is called, and given: as much as a training worker."""
    return {
        "name": name,
        "num_cpus": placement.worker_cpus,
        "num_gpus": placement.worker_gpus,
        "memory": placement.worker_memory or None,
    }


def place(train: "Train", free: Mapping[str, float]) -> Placement:
    """Fit `c` concurrent trials of `workers` workers into the free CPUs and GPUs.

    Without declared CPUs a worker gets (free CPUs - 0.1 c) / (workers c), at most 1, so that c trials and all their
    workers fit at once: a trial that holds its 0.1 CPU while its workers wait for ever is the deadlock this avoids.

    Args:
        train: the `train` section, see `omsweep.space.resources.declared_train`.
        free: Ray's resource counts, `CPU` and `GPU`, and bytes of `memory`.

    Raises:
        ValueError: not even one trial can be placed, with what it needs and what is free.
    """
    declared, workers = train.resources_per_worker, train.workers
    overhead = TRIAL_CPUS if train.backend == "train" else 0.0
    cpus, gpus, memory = (free.get(name, 0.0) for name in ("CPU", "GPU", "memory"))
    each_gpus, each_memory = declared.gpus or 0.0, (declared.memory_gib or 0.0) * GIB
    limits = [
        math.floor(present / (workers * each) + 1e-9)
        for present, each in ((gpus, each_gpus), (memory, each_memory))
        if each
    ]
    if declared.cpus is not None:
        limits.append(math.floor(cpus / (workers * declared.cpus + overhead) + 1e-9))
    else:
        limits.append(max(1, math.floor(cpus / workers)) if cpus > overhead else 0)
    fit = min(limits)
    if fit < 1:
        wanted = declared.cpus if declared.cpus is not None else "some"
        raise ValueError(
            f"train.resources_per_worker cannot be placed: a trial needs {workers} worker(s) of {wanted} CPUs and"
            f" {each_gpus:g} GPUs, and {cpus:g} CPUs and {gpus:g} GPUs are free"
            + (f"; of memory {declared.memory_gib:g} GiB each, {memory / GIB:.1f} free" if each_memory else "")
        )
    concurrent = min(fit, train.concurrent_trials or fit)
    share = (cpus - overhead * concurrent) / (workers * concurrent)
    each_cpus = declared.cpus if declared.cpus is not None else min(1.0, share)
    return Placement(
        concurrent_trials=concurrent, worker_cpus=each_cpus, worker_gpus=each_gpus, worker_memory=each_memory
    )
