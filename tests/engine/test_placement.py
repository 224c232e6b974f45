"""How many trials run at once: closed forms, and whatever is granted fits into what is free."""

import itertools

import pytest

from omsweep.engine.placement import TRIAL_CPUS, Placement, place
from omsweep.families.family import GIB, Resources
from omsweep.space.schema import Train


def train(**settings: object) -> Train:
    return Train.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "free", "trials", "cpus", "gpus"),
    [
        ({}, {"CPU": 1.0}, 1, 0.9, 0.0),  # (1 - 0.1) / 1
        ({}, {"CPU": 2.0}, 2, 0.9, 0.0),  # (2 - 0.2) / 2
        ({"concurrent_trials": 1}, {"CPU": 2.0}, 1, 1.0, 0.0),  # 1.9, at most 1
        ({"workers": 2}, {"CPU": 2.0}, 1, 0.95, 0.0),  # (2 - 0.1) / 2
        ({"workers": 2}, {"CPU": 8.0}, 4, 0.95, 0.0),  # (8 - 0.4) / 8
        ({"workers": 4}, {"CPU": 2.0}, 1, 0.475, 0.0),  # (2 - 0.1) / 4
        ({"backend": "inprocess"}, {"CPU": 2.0}, 2, 1.0, 0.0),  # no actor beside the worker
        ({"resources_per_worker": {"cpus": 1.0}}, {"CPU": 2.0}, 1, 1.0, 0.0),  # 1.1 each: two do not fit
        ({"resources_per_worker": {"cpus": 0.9}}, {"CPU": 2.0}, 2, 0.9, 0.0),
        ({"resources_per_worker": {"gpus": 1}}, {"CPU": 32.0, "GPU": 4.0}, 4, 1.0, 1.0),
        ({"resources_per_worker": {"cpus": 6, "gpus": 1}, "workers": 4}, {"CPU": 64.0, "GPU": 8.0}, 2, 6.0, 1.0),
        ({"resources_per_worker": {"gpus": 1}}, {"CPU": 48.0, "GPU": 4.0}, 4, 1.0, 1.0),
        ({"resources_per_worker": {"cpus": 8, "gpus": 1}, "workers": 4}, {"CPU": 192.0, "GPU": 16.0}, 4, 8.0, 1.0),
        ({"resources_per_worker": {"gpus": 0.5}}, {"CPU": 8.0, "GPU": 1.0}, 2, 1.0, 0.5),
    ],
)
def test_closed_forms(
    settings: dict[str, object], free: dict[str, float], trials: int, cpus: float, gpus: float
) -> None:
    placement = place(train(**settings), free)
    assert placement.concurrent_trials == trials
    assert placement.worker_cpus == pytest.approx(cpus)
    assert placement.worker_gpus == gpus


@pytest.mark.parametrize(
    ("settings", "free", "named"),
    [
        ({}, {}, "0 CPUs and 0 GPUs are free"),
        ({}, {"GPU": 8.0}, "0 CPUs and 8 GPUs are free"),
        ({"resources_per_worker": {"gpus": 1}}, {"CPU": 8.0}, "0 GPUs are free"),
        ({"resources_per_worker": {"gpus": 1}, "workers": 4}, {"CPU": 8.0, "GPU": 3.0}, "4 worker"),
        ({"resources_per_worker": {"cpus": 4}}, {"CPU": 4.0}, "1 worker.s. of 4.0 CPUs"),  # 4.1 with the trial's own
        ({"resources_per_worker": {"cpus": 4.5}, "backend": "inprocess"}, {"CPU": 4.0}, "4 CPUs and"),
        ({"resources_per_worker": {"memory_gib": 9}}, {"CPU": 4.0, "memory": 8.0 * GIB}, "memory 9 GiB each, 8.0 free"),
        ({"resources_per_worker": {"memory_gib": 5}, "workers": 2}, {"CPU": 4.0, "memory": 8.0 * GIB}, "5 GiB each"),
    ],
)
def test_what_can_never_be_placed_is_refused(settings: dict[str, object], free: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=rf"resources_per_worker cannot be placed.*{named}"):
        place(train(**settings), free)


@pytest.mark.parametrize("backend", ["train", "inprocess"])
def test_all_trials_and_their_workers_fit_at_once(backend: str) -> None:
    """The deadlock to avoid: trials that hold their own share while their workers find none."""
    own = TRIAL_CPUS if backend == "train" else 0.0
    cases = itertools.product((1.0, 2.0, 3.5, 16.0), (0.0, 1.0, 4.0), (1, 2, 4), (None, 0.5, 1.0), (0.0, 0.5, 1.0))
    granted = 0
    for cpus, gpus, workers, cpus_each, gpus_each in cases:
        asked = Resources(cpus=cpus_each, gpus=gpus_each)
        try:
            placed = place(
                train(backend=backend, workers=workers, resources_per_worker=asked), {"CPU": cpus, "GPU": gpus}
            )
        except ValueError:
            continue
        granted += 1
        assert placed.concurrent_trials >= 1
        assert placed.worker_cpus > 0
        assert placed.concurrent_trials * (own + workers * placed.worker_cpus) <= cpus + 1e-9
        assert placed.concurrent_trials * workers * placed.worker_gpus <= gpus + 1e-9
    assert granted > 50


def test_the_declared_number_of_trials_is_an_upper_limit() -> None:
    assert place(train(concurrent_trials=3), {"CPU": 8.0}).concurrent_trials == 3
    assert place(train(concurrent_trials=30), {"CPU": 8.0}).concurrent_trials == 8


def test_memory_is_reserved_and_bounds_the_trials_at_once() -> None:
    placed = place(train(resources_per_worker={"memory_gib": 3}, workers=2), {"CPU": 16.0, "memory": 13.0 * GIB})
    assert placed.concurrent_trials == 2
    assert placed.of_worker() == {"CPU": 1.0, "memory": 3.0 * GIB}
    assert Placement(worker_cpus=2.0, worker_gpus=0.5).of_worker() == {"CPU": 2.0, "GPU": 0.5}
