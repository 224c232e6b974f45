"""What a worker gets, and which trials fit: small cases counted by hand, and packings checked against their nodes."""

import itertools
from collections import Counter

import pytest

from omsweep.engine.placement import BESIDE_WORKERS, Nodes, Want, Worker, fits, kinds, largest, worker_for
from omsweep.families.family import GIB, Resources

TWO_CPUS = {"a": {"CPU": 2.0}}
GPU_NODE = {"CPU": 48.0, "GPU": 4.0, "memory": 300.0 * GIB}
GPU_NODES = {"a": GPU_NODE, "b": GPU_NODE}


@pytest.mark.parametrize(
    ("declared", "workers", "nodes", "cpus"),
    [
        ({}, 1, TWO_CPUS, 1.0),
        ({}, 2, TWO_CPUS, 1.0),
        ({}, 4, TWO_CPUS, 0.5),  # all of a trial's workers at once
        ({}, 3, {"a": {"CPU": 1.0}}, 0.3333),  # thirds, as Ray counts
        ({}, 3, {"a": {"CPU": 1.0}, "b": {"CPU": 1.0}}, 0.5),
        ({}, 4, None, 1.0),  # others may come
        ({}, 8, GPU_NODES, 1.0),
        ({"cpus": 4.0}, 2, TWO_CPUS, 4.0),  # declared is declared: it is refused elsewhere
        ({"gpus": 8.0}, 1, GPU_NODES, 1.0),
    ],
)
def test_without_declared_cpus_a_worker_gets_one_or_a_share(
    declared: dict[str, float], workers: int, nodes: Nodes | None, cpus: float
) -> None:
    assert worker_for(Resources(**declared), 0.0, workers, nodes).cpus == pytest.approx(cpus)


def test_what_training_is_known_to_need_is_reserved_unless_memory_is_declared() -> None:
    known = 3.2 * GIB
    assert worker_for(Resources(), known, 1, TWO_CPUS).memory == pytest.approx(known, abs=1)
    assert worker_for(Resources(memory_gib=8), known, 1, TWO_CPUS).memory == 8 * GIB
    assert Worker(cpus=2.0, gpus=0.5, accelerator="H100").bundle() == {
        "CPU": 2.0,
        "GPU": 0.5,
        "accelerator_type:H100": 0.001,
    }
    assert Worker(cpus=2.0, memory=3 * GIB, count=2).describe() == "2 workers of 2 CPUs, 3.0 GiB of memory"


@pytest.mark.parametrize(
    ("each", "workers", "trials", "fit"),
    [
        ({"CPU": 1.0, "GPU": 1.0}, 8, 1, True),  # a trial may lie on several nodes
        ({"CPU": 1.0, "GPU": 1.0}, 8, 2, False),
        ({"CPU": 1.0, "GPU": 8.0}, 1, 1, False),  # eight GPUs there are, but on no single node
        ({"CPU": 1.0, "GPU": 0.5}, 1, 16, True),
        ({"CPU": 25.0}, 1, 3, False),  # 96 CPUs free, in two nodes of 48
        ({"CPU": 1.0, "memory": 160.0 * GIB}, 1, 2, True),
        ({"CPU": 1.0, "memory": 160.0 * GIB}, 1, 3, False),
        ({"CPU": 1.0, "accelerator_type:A100": 0.001}, 1, 1, False),
    ],
)
def test_a_worker_lies_on_one_node(each: dict[str, float], workers: int, trials: int, fit: bool) -> None:
    assert fits([Want(each, workers)] * trials, GPU_NODES) is fit
    assert GPU_NODES["a"]["CPU"] == 48.0  # nothing is taken from them


def test_what_fits_never_takes_more_than_there_is() -> None:
    cases = itertools.product((1.0, 2.0, 3.5, 16.0), (0.0, 1.0, 4.0), (1, 2, 4), (0.5, 1.0, 2.0), (0.0, 0.5, 1.0))
    fitting = 0
    for cpus, gpus, workers, cpus_each, gpus_each in cases:
        nodes = {"a": {"CPU": cpus, "GPU": gpus}, "b": {"CPU": cpus}}
        want, most = Want(Worker(cpus=cpus_each, gpus=gpus_each).bundle(), workers), 0
        while fits([want] * (most + 1), nodes):
            most += 1
        taken = Counter({name: most * workers * amount for name, amount in want.bundle.items()})
        assert taken["CPU"] <= 2 * cpus
        assert taken["GPU"] <= gpus
        fitting += most > 0
    assert fitting > 50


def test_a_trials_own_actor_takes_nothing_that_a_worker_needs() -> None:
    assert not BESIDE_WORKERS.keys() & {"CPU", "GPU", "memory"}
    assert sum(BESIDE_WORKERS.values()) * 500 <= 1.0  # trials beside each other on one head


def test_nodes_in_words() -> None:
    nodes = {"a": {"CPU": 4.0, "accelerator_type:H100": 1.0}, "b": {"GPU": 8.0, "accelerator_type:A100": 1.0}}
    assert kinds(nodes) == ["A100", "H100"]
    assert largest(nodes.values()) == "4 CPUs, 8 GPUs, 0.0 GiB of memory"
    assert largest([]) == "0 CPUs, 0 GPUs, 0.0 GiB of memory"
