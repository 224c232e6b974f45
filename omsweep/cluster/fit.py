"""Whether a cluster has a node that holds one worker, asked before a job is sent there."""

from collections import Counter
from collections.abc import Mapping, Sequence

from omsweep.families.family import GIB, Resources
from omsweep.plan.attempts import scoring
from omsweep.space.resources import scorer_resources, worker_resources
from omsweep.space.search_space import SearchSpace

NAMES = {"CPU": ("CPU", 1), "GPU": ("GPU", 1), "memory": ("GiB", GIB)}
"""By Ray's name of a resource, its unit in messages, and how much of Ray's one of these is."""
LONGEST_LIST = 4


def where_workers_fit(space: SearchSpace, nodes: Sequence[Mapping[str, float]] | None, *, may_grow: bool) -> str:
    """On how many of the nodes a worker of each family fits, in one line.

    Args:
        space: to be run.
        nodes: resources of those that are up, memory in bytes; None where that is not known.
        may_grow: whether others, of types that are not known, may be added.

    Raises:
        ValueError: no node can hold a worker of some family, and none is added.
    """
    if nodes is None:
        return "what this cluster's nodes have is not known: whether a worker fits shows when the sweep starts"
    said = []
    evaluate, train = space.file.evaluate, space.file.train
    jobs = [(family.name, worker_resources(train, family)) for family in space.families]
    if evaluate.workers is not None:
        jobs += [(scoring(one.name), scorer_resources(evaluate, train, one)) for one in space.families]
    for name, declared in jobs:
        need = needed(declared)
        count = sum(all(node.get(key, 0.0) >= amount for key, amount in need.items()) for node in nodes)
        if not count and not may_grow:
            raise ValueError(
                f"no node of this cluster holds a worker of {name}, which needs {shown(need)}: there"
                f" {'is' if len(nodes) == 1 else 'are'} {_listed(nodes)}, and nothing adds nodes"
            )
        said.append(f"{count} of {len(nodes)} for {name} ({shown(need)})")
    grows = ", and an autoscaler may add nodes" if may_grow else ""
    return f"nodes that hold a worker: {'; '.join(said)}{grows}"


def needed(declared: Resources) -> dict[str, float]:
    """What Ray must find on one node for a worker, under Ray's names; without declared CPUs some share of one."""
    amounts = {"CPU": declared.cpus or 0.1, "GPU": declared.gpus, "memory": (declared.memory_gib or 0.0) * GIB}
    return {name: amount for name, amount in amounts.items() if amount}


def shown(amounts: Mapping[str, float]) -> str:
    """`8 CPU, 1 GPU, 24 GiB`."""
    return ", ".join(f"{amounts[name] / size:.3g} {unit}" for name, (unit, size) in NAMES.items() if name in amounts)


def _listed(nodes: Sequence[Mapping[str, float]]) -> str:
    kinds = Counter(map(shown, nodes)).most_common()
    more = f", and {len(kinds) - LONGEST_LIST} other kinds" if len(kinds) > LONGEST_LIST else ""
    return ", ".join(f"{count} x ({kind})" for kind, count in kinds[:LONGEST_LIST]) + more
