"""Whether a budget can be used up, and every price of it is read. Torch-free."""

from collections.abc import Sequence

from omsweep.families.family import ModelFamily
from omsweep.space.knobs import SpaceError
from omsweep.space.resources import worker_resources
from omsweep.space.schema import Budget, Train

PRICES = ("per_gpu_hour", "per_cpu_hour")


def check_budget(budget: Budget, train: Train, families: Sequence[ModelFamily]) -> None:
    """Refuse a limit that is never reached, and a price of which nothing comes; raises SpaceError."""
    unread = [name for name in (*PRICES, "currency") if getattr(budget, name) is not None]
    if budget.money is None and unread:
        raise SpaceError(f"budget.{unread[0]}", "is read with budget.money alone: give that too, or remove it")
    if budget.money is not None and not {*PRICES} & {*unread}:
        raise SpaceError("budget.money", f"needs a price: give {' or '.join(f'budget.{name}' for name in PRICES)}")
    of_gpus = [name for name in ("gpu_hours", "per_gpu_hour") if getattr(budget, name) is not None]
    if of_gpus and not any(worker_resources(train, family).gpus for family in families):
        raise SpaceError(
            f"budget.{of_gpus[0]}",
            "counts nothing: no worker holds a GPU; declare gpus in train.resources_per_worker or in the family",
        )
