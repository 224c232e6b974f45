"""Whether one node holds one worker is known before a job is sent."""

from pathlib import Path

import pytest

from omsweep.cluster.fit import where_workers_fit
from omsweep.space.load import load_space
from omsweep.space.search_space import SearchSpace

GIB = 1 << 30
HEAD = {"memory": 8.0 * GIB, "object_store_memory": 4.0 * GIB}  # started with --num-cpus=0
SMALL = {"CPU": 8.0, "memory": 30.0 * GIB}
LARGE = {"CPU": 8.0, "GPU": 1.0, "memory": 60.0 * GIB}


def space(declared: str) -> SearchSpace:
    return load_space(Path("search_spaces/tiny/search.yaml"), [f"train.resources_per_worker={declared}"])


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("{}", "2 of 3 for tiny-llama (0.1 CPU)"),
        ("{cpus: 8}", "2 of 3 for tiny-llama (8 CPU)"),
        ("{cpus: 4, gpus: 1}", "1 of 3 for tiny-llama (4 CPU, 1 GPU)"),
        ("{memory_gib: 48}", "1 of 3 for tiny-llama (0.1 CPU, 48 GiB)"),
    ],
)
def test_nodes_that_hold_a_worker_are_counted(declared: str, said: str) -> None:
    assert said in where_workers_fit(space(declared), [HEAD, SMALL, LARGE], may_grow=False)


@pytest.mark.parametrize(
    ("declared", "needs"),
    [("{gpus: 2}", "0.1 CPU, 2 GPU"), ("{cpus: 9}", "9 CPU"), ("{memory_gib: 61}", "0.1 CPU, 61 GiB")],
)
def test_what_no_node_holds_is_refused_with_what_there_is(declared: str, needs: str) -> None:
    """Sums over the cluster do not count: a worker lies on one node."""
    with pytest.raises(ValueError, match="no node of this cluster holds a worker") as error:
        where_workers_fit(space(declared), [HEAD, SMALL, LARGE, LARGE], may_grow=False)
    assert f"tiny-llama, which needs {needs}" in str(error.value)
    assert "there are 2 x (8 CPU, 1 GPU, 60 GiB), 1 x (8 GiB), 1 x (8 CPU, 30 GiB)" in str(error.value)
    said = where_workers_fit(space(declared), [HEAD, SMALL], may_grow=True)
    assert f"0 of 2 for tiny-llama ({needs})" in said
    assert said.endswith("an autoscaler may add nodes")


def test_nodes_that_are_not_known_refuse_nothing() -> None:
    assert "is not known" in where_workers_fit(space("{gpus: 8}"), None, may_grow=False)


def test_workers_that_only_score_need_a_node_too() -> None:
    apart = ["evaluate.workers=1", "evaluate.resources_per_worker={cpus: 8, gpus: 0}"]
    train = "train.resources_per_worker={cpus: 4, gpus: 1}"
    made = load_space(Path("search_spaces/tiny/search.yaml"), [train, *apart, "train.backend=train"])
    said = where_workers_fit(made, [HEAD, SMALL, LARGE], may_grow=False)
    assert "1 of 3 for tiny-llama (4 CPU, 1 GPU); 2 of 3 for tiny-llama (scoring) (8 CPU)" in said
