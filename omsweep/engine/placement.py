"""What each worker of a trial occupies, and whether the workers of one more trial fit on the nodes there are.

Pure, and without search spaces: a trial's processes read `Worker` too. Amounts are Ray's: CPUs, GPUs, bytes of memory,
and whatever else a node is declared to have.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from omsweep.families.family import GIB, Resources
from omsweep.store.records import Prepared

Amounts = Mapping[str, float]
"""By Ray's name of a resource."""
Nodes = Mapping[str, Amounts]
"""What nodes have, or have free, by node id."""
BESIDE_WORKERS = {"node:__internal_head__": 0.001}
"""What a trial's own actor holds under `backend: train`: a place on the head node, and nothing that a worker needs. So
trials cannot starve each other's workers, and a node that is lost takes workers with it, not what restarts them."""
ACCELERATOR = "accelerator_type:"
"""How Ray's name for a node's kind of accelerator begins."""
SLACK = 1e-6


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What one worker of a group occupies, and how many of them the group has.

    Attributes:
        cpus: CPUs.
        gpus: GPUs, or a share of one.
        memory: host memory in bytes, 0 where none is reserved.
        accelerator: kind of accelerator that its node must have, in Ray's words; None for any.
        gpu_memory_gib: what its process is held to, None for no limit.
        count: workers of the group.
    """

    cpus: float
    gpus: float = 0.0
    memory: float = 0.0
    accelerator: str | None = None
    gpu_memory_gib: float | None = None
    count: int = 1

    def held(self, prepared: Prepared) -> Prepared:
        """What a trial starts from, in a process that is held to this one's GPU memory."""
        return prepared.model_copy(update={"gpu_memory_gib": self.gpu_memory_gib})

    def bundle(self) -> dict[str, float]:
        """It under Ray's names, without what is 0."""
        kind = {} if self.accelerator is None else {f"{ACCELERATOR}{self.accelerator}": 0.001}
        amounts = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}
        return {name: amount for name, amount in amounts.items() if amount} | kind

    def task_options(self, name: str) -> dict[str, Any]:
        """What a Ray task that takes as much as a worker is called, and given."""
        return {"name": name, "num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self.memory or None}

    def describe(self) -> str:
        """All of them, in words."""
        parts = [f"{self.cpus:g} CPUs"] + ([f"{self.gpus:g} GPUs"] if self.gpus else [])
        parts += [f"{self.memory / GIB:.1f} GiB of memory"] if self.memory else []
        parts += [f"an accelerator of type {self.accelerator}"] if self.accelerator else []
        return f"{self.count} worker{'s' if self.count > 1 else ''} of " + ", ".join(parts)

    def want(self) -> "Want":
        """The room for all of them."""
        return Want(self.bundle(), self.count)


class Want(NamedTuple):
    """The workers of one trial: so many, each with this bundle on one node."""

    bundle: Amounts
    workers: int


def worker_for(declared: Resources, memory: float, workers: int, nodes: Nodes | None) -> Worker:
    """What each of a trial's workers is given.

    Without declared CPUs a worker gets one, or where a trial's workers do not fit the nodes then, a half, a third, ...
    of one, until they do.

    Args:
        declared: of the file or the family.
        memory: bytes that a worker is known to need, reserved where no memory is declared.
        workers: of a trial.
        nodes: all that there will be; None where others may come.
    """
    reserved = memory if declared.memory_gib is None else declared.memory_gib * GIB
    given = Worker(
        cpus=declared.cpus or 1.0,
        gpus=declared.gpus or 0.0,
        memory=math.ceil(reserved),
        gpu_memory_gib=declared.gpu_memory_gib,
        count=workers,
    )
    if declared.cpus is not None or nodes is None:
        return given
    for parts in range(1, workers + 1):
        shared = replace(given, cpus=math.floor(1e4 / parts) / 1e4)  # Ray counts in ten thousandths
        if fits([shared.want()], nodes):
            return shared
    return given


def fits(wants: Iterable[Want], free: Nodes) -> bool:
    """Whether all of these trials can be placed, each worker whole on one node.

    The first node with room takes a worker, in their order, as Ray's strategy PACK does.
    """
    left = {node: dict(amounts) for node, amounts in free.items()}
    return all(_placed(want, left) for want in wants)


def _placed(want: Want, left: dict[str, dict[str, float]]) -> bool:
    for _ in range(want.workers):
        place = next((amounts for amounts in left.values() if _holds(amounts, want.bundle)), None)
        if place is None:
            return False
        for name, amount in want.bundle.items():
            place[name] -= amount
    return True


def _holds(amounts: Amounts, bundle: Amounts) -> bool:
    return all(amounts.get(name, 0.0) >= amount - SLACK for name, amount in bundle.items())


def kinds(nodes: Nodes) -> list[str]:
    """The kinds of accelerators that nodes have, sorted."""
    found = {name.removeprefix(ACCELERATOR) for amounts in nodes.values() for name in amounts if ACCELERATOR in name}
    return sorted(found)


def largest(nodes: Iterable[Amounts]) -> str:
    """What the nodes have at most, each resource by itself, in words."""
    names = {"CPU": "CPUs", "GPU": "GPUs"}
    listed = list(nodes)
    most = {name: max((one.get(name, 0.0) for one in listed), default=0.0) for name in ("CPU", "GPU", "memory")}
    return ", ".join(f"{most[name]:g} {words}" for name, words in names.items()) + (
        f", {most['memory'] / GIB:.1f} GiB of memory"
    )
