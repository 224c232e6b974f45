"""A budget that could never be used up, or that nobody reads, is refused by key."""

from typing import Any

import pytest

from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError

GPU = {"train": {"resources_per_worker": {"gpus": 1}}}
MISTAKES = [
    ({"trials": 0}, "budget.trials"),
    ({"wall_hours": 0}, "budget.wall_hours"),
    ({"hours": 3}, "budget.hours"),
    ({"money": 3}, "budget.money: needs a price: give budget.per_gpu_hour or budget.per_cpu_hour"),
    ({"per_cpu_hour": 3}, "budget.per_cpu_hour: is read with budget.money alone"),
    ({"currency": "EUR"}, "budget.currency: is read with budget.money alone"),
    ({"gpu_hours": 3}, "budget.gpu_hours: counts nothing: no worker holds a GPU; declare gpus in"),
    ({"money": 3, "per_gpu_hour": 1}, "budget.per_gpu_hour: counts nothing: no worker holds a GPU"),
]


@pytest.mark.parametrize(("budget", "said"), MISTAKES, ids=[said for _, said in MISTAKES])
def test_a_mistake_is_named(budget: dict[str, Any], said: str, compare: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match=said):
        build_space(compare | {"budget": budget})


@pytest.mark.parametrize("budget", [{"gpu_hours": 3}, {"money": 3, "per_gpu_hour": 1, "currency": "EUR"}])
def test_gpus_count_where_workers_hold_some(budget: dict[str, Any], compare: dict[str, Any]) -> None:
    assert build_space(compare | GPU | {"budget": budget}).file.budget.model_dump(exclude_none=True) == budget
