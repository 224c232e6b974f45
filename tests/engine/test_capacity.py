"""When the next trial may start, on clusters that change while it is asked: hand-made looks and a clock of its own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from omsweep.engine.capacity import Capacity, Cluster, NoRoom
from omsweep.engine.placement import Worker
from omsweep.families.family import Resources
from omsweep.space.build import build_space
from omsweep.space.checks.fit import need_of
from omsweep.store.records import TrialSpec
from tests.space_files import COMPARE

HEAD = {"CPU": 0.0, "memory": 8e9}
NODE = {"CPU": 2.0, "memory": 8e9}
GPU = {"CPU": 8.0, "GPU": 2.0, "memory": 64e9}


class Watched:
    """A cluster under test: `now` is what a look sees, `time` what the clock says."""

    def __init__(self, now: Cluster, **train: Any) -> None:
        self.now, self.time, self.said = now, 0.0, []  # type: Cluster, float, list[str]
        self.space = build_space(COMPARE | {"train": train})
        self.capacity = Capacity(self.space, self.said.append, look=lambda: self.now, clock=lambda: self.time)

    def sees(self, now: Cluster) -> None:
        self.now, self.time = now, self.time + 2.0

    def may_start(self, spec: TrialSpec, running: list[TrialSpec]) -> bool:
        return self.capacity.worker(spec, running) is not None


def cluster(*nodes: Mapping[str, float], used: Mapping[int, Mapping[str, float]] | None = None, **more: Any) -> Cluster:
    used = used or {}
    free = [
        {name: amount - used.get(i, {}).get(name, 0.0) for name, amount in node.items()} for i, node in enumerate(nodes)
    ]
    return Cluster(
        {str(i): node for i, node in enumerate(nodes)}, {str(i): node for i, node in enumerate(free)}, **more
    )


def spec(name: str, family: str = "tiny-llama", block: int | None = None) -> TrialSpec:
    return TrialSpec(trial_id=name, family=family, block=block)


def test_trials_start_as_nodes_come_and_not_as_they_go() -> None:
    watched = Watched(cluster(HEAD, NODE), resources_per_worker={"cpus": 2})
    assert watched.may_start(spec("a"), [])
    placed = [("1", watched.capacity.workers["tiny-llama"].bundle())]
    full = {1: {"CPU": 2.0}}
    watched.sees(cluster(HEAD, NODE, used=full, ours=placed))
    assert not watched.may_start(spec("b"), [spec("a")])
    watched.sees(cluster(HEAD, NODE, NODE, used=full, ours=placed))  # a node has joined
    assert watched.may_start(spec("b"), [spec("a")])
    assert not watched.may_start(spec("c"), [spec("a"), spec("b")])  # b has not been placed yet: its room is taken
    watched.sees(cluster(HEAD, NODE))  # the node with a's workers is gone: a waits for others, before b
    assert not watched.may_start(spec("b"), [spec("a")])
    assert watched.may_start(spec("b"), [])


def test_what_an_ended_trial_still_holds_is_its_successors() -> None:
    watched = Watched(cluster(NODE), resources_per_worker={"cpus": 2}, backend="inprocess")
    kept = [("0", watched.capacity.workers["tiny-llama"].bundle())]
    watched.sees(cluster(NODE, used={0: {"CPU": 2.0}}, ours=kept))  # Tune keeps the actor for the next trial
    assert watched.may_start(spec("b"), [])
    assert not watched.may_start(spec("b"), [spec("a")])
    watched.sees(cluster(NODE, used={0: {"CPU": 2.0}}))  # another job's
    assert not watched.may_start(spec("b"), [])


def test_the_declared_number_of_trials_is_an_upper_limit() -> None:
    watched = Watched(cluster({"CPU": 8.0, "memory": 8e9}), concurrent_trials=2)
    assert watched.capacity.at_once() == 2
    assert watched.may_start(spec("b"), [spec("a")])
    assert not watched.may_start(spec("c"), [spec("a"), spec("b")])
    assert not watched.capacity.any_room([spec("a"), spec("b")])


def test_a_block_stays_on_one_kind_of_accelerator() -> None:
    kinds = [GPU | {"accelerator_type:A100": 1.0}, GPU | {"accelerator_type:H100": 1.0}]
    watched = Watched(cluster(*kinds), resources_per_worker={"gpus": 2})
    first = watched.capacity.worker(spec("a", block=0), [])
    assert first is not None
    assert first.accelerator == "A100"
    assert watched.capacity.worker(spec("b", block=0), [spec("a", block=0)]) is None  # the H100s are free
    second = watched.capacity.worker(spec("c", block=1), [spec("a", block=0)])
    assert second is not None
    assert second.accelerator == "H100"
    watched.capacity.keep_to(spec("d", block=2), "H100")  # so it was under an earlier driver
    assert watched.capacity.worker(spec("d", block=2), [spec("c", block=1)]) is None
    searched = watched.capacity.worker(spec("e"), [])  # a search compares no blocks
    assert searched is not None
    assert searched.accelerator is None


@pytest.mark.parametrize(
    ("nodes", "train", "named"),
    [
        ([NODE], {"cpus": 4}, "tiny-llama needs 1 worker of 4 CPUs.*have at most 2 CPUs, 0 GPUs"),
        ([NODE, NODE], {"cpus": 4}, "2 of them; a worker lies on one node"),
        ([GPU], {"gpus": 4}, "4 GPUs.*at most 8 CPUs, 2 GPUs"),
        ([NODE], {"memory_gib": 20}, "20.0 GiB of memory.*7.5 GiB of memory each"),
    ],
)
def test_what_can_never_be_placed_is_refused(nodes: Any, train: Any, named: str) -> None:
    with pytest.raises(ValueError, match=rf"train.resources_per_worker cannot be placed.*{named}"):
        Watched(cluster(*nodes), resources_per_worker=train)


def test_nodes_that_may_come_are_waited_for_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head alone, and an autoscaler that may add nodes with eight GPUs: nothing is refused, the wait is said."""
    big = {"CPU": 96.0, "GPU": 8.0, "memory": float("inf")}
    watched = Watched(cluster(HEAD, grows=True), resources_per_worker={"gpus": 8}, wait_timeout=90.0)
    asked: list[list[dict[str, float]]] = []
    monkeypatch.setattr(
        "omsweep.engine.capacity.DefaultAutoscalingCoordinator",
        lambda name: type(
            "Asked", (), {"request_resources": lambda self, bundles, expire_after_s: asked.append(bundles)}
        )(),
    )
    monkeypatch.setattr("omsweep.engine.capacity._requester", lambda: "omsweep")
    assert not watched.capacity.any_room([])
    watched.capacity.ask_for([], {"tiny-llama": 5})
    assert asked == [[{"CPU": 1.0, "GPU": 8.0}] * 5]
    watched.capacity.ask_for([], {"tiny-llama": 5})
    assert len(asked) == 1  # a moment later
    watched.capacity.wait("tiny-llama")
    for _ in range(3):
        watched.time += 25.0
        watched.capacity.wait("tiny-llama")
    assert len(watched.said) == 2  # at once, and after a minute
    assert (
        "a trial of tiny-llama needs 1 worker of 1 CPUs, 8 GPUs; the autoscaler is asked for it (0 s" in watched.said[0]
    )
    watched.time += 25.0
    with pytest.raises(
        NoRoom, match="did not come within train.wait_timeout, 90 s; the nodes that are up have at most 0"
    ):
        watched.capacity.wait("tiny-llama")
    watched.sees(cluster(HEAD, big, grows=True))
    assert watched.may_start(spec("a"), [])
    watched.capacity.wait("tiny-llama")  # the time begins anew once a trial could start


def test_a_ray_without_a_node_is_not_waited_for() -> None:
    """A node that could not answer for a minute is given up by Ray; on this machine there is no other."""
    watched = Watched(cluster(NODE), wait_timeout=1800.0)
    assert watched.may_start(spec("a"), [])
    watched.sees(cluster())
    with pytest.raises(NoRoom, match="no node left, not even the one of this process"):
        watched.capacity.wait("tiny-llama")


def test_families_take_resources_of_their_own() -> None:
    watched = Watched(cluster(HEAD, NODE))
    llama, qwen = watched.space.families
    space = replace(watched.space, families=(llama, replace(qwen, resources=Resources(cpus=2))))
    capacity = Capacity(space, print, look=lambda: watched.now, clock=lambda: 0.0)
    assert {name: worker.cpus for name, worker in capacity.workers.items()} == {"tiny-llama": 1.0, "tiny-qwen2": 2.0}
    running = [spec("a")]
    watched.now = cluster(HEAD, NODE, used={1: {"CPU": 1.0}}, ours=[("1", capacity.workers["tiny-llama"].bundle())])
    capacity = Capacity(space, print, look=lambda: watched.now, clock=lambda: 0.0)
    assert capacity.worker(spec("b", "tiny-qwen2"), running) is None
    assert capacity.worker(spec("b", "tiny-llama"), running) is not None
    assert capacity.any_room(running)


def test_memory_that_training_is_known_to_need_is_reserved() -> None:
    watched = Watched(cluster(NODE))
    need = need_of(watched.space, watched.space.families[0])
    assert need is not None
    assert watched.capacity.workers["tiny-llama"].memory == 2**30 > need.total > 1e6  # in whole GiB
    gpu = Watched(cluster(GPU), resources_per_worker={"gpus": 1})
    assert gpu.capacity.workers["tiny-llama"].memory == 0  # what is known there is the GPU's


def apart(now: Cluster, evaluate: Mapping[str, Any], **train: Any) -> tuple[Capacity, set[str]]:
    """Capacity where trials are scored in groups of their own, and the trials that are scored next or now."""
    scored: set[str] = set()
    space = build_space(COMPARE | {"train": train, "evaluate": dict(evaluate)})
    capacity = Capacity(space, print, look=lambda: now, clock=lambda: 0.0)
    capacity.scores = lambda one: one.trial_id in scored
    return capacity, scored


def test_what_is_scored_takes_workers_of_its_own() -> None:
    nodes = GPU | {"accelerator_type:H100": 1.0}, NODE
    evaluate = {"workers": 2, "resources_per_worker": {"gpus": 0, "cpus": 1}}
    train = {"cpus": 4, "gpus": 2, "gpu_memory_gib": 40}
    capacity, scored = apart(cluster(*nodes), evaluate, resources_per_worker=train)
    trained = capacity.worker(spec("a", block=0), [])
    assert trained == Worker(cpus=4.0, gpus=2.0, accelerator="H100", gpu_memory_gib=40)
    assert capacity.worker(spec("b"), [spec("a", block=0)]) is None
    scored |= {"b", "c", "d"}
    beside = capacity.worker(spec("b", block=0), [spec("a", block=0)])
    assert beside == Worker(cpus=1.0, memory=2**30, count=2)
    others = [spec("a", block=0), spec("b", block=0), spec("c"), spec("d")]
    assert capacity.worker(spec("b"), others[:3]) is not None
    assert capacity.worker(spec("b"), others + [spec("e")] * 2) is None  # 4 CPUs each
    assert not capacity.any_room([spec("a", block=0)])  # a trial is thought of where it can be trained
    assert capacity.fits_beside(beside, [], [trained])
    full, _ = apart(cluster(NODE), {"workers": 1}, resources_per_worker={"cpus": 2})
    assert not full.fits_beside(full.needs["tiny-llama (scoring)"], [], [full.workers["tiny-llama"]])


def test_scoring_that_fits_no_node_is_refused() -> None:
    named = (
        r"evaluate.resources_per_worker cannot be placed: a trial of tiny-llama \(scoring\) needs 2 workers of 4 CPUs"
    )
    with pytest.raises(ValueError, match=named):
        apart(cluster(NODE), {"workers": 2, "resources_per_worker": {"cpus": 4}})
