"""What each worker is declared to have: the file's word, else the family's. Torch-free."""

from collections.abc import Sequence

from omsweep.families.family import ModelFamily, Resources
from omsweep.space.schema import Train


def worker_resources(train: Train, family: ModelFamily) -> Resources:
    """What a worker that trains `family` is declared to have: the file's word, else the family's.

    The family's GPU memory belongs to the family's GPU: it does not count where the file takes that away.
    """
    declared, usual = train.resources_per_worker, family.resources
    merged = {name: value if value is not None else getattr(usual, name) for name, value in declared}
    if not merged["gpus"] and declared.gpu_memory_gib is None:
        merged["gpu_memory_gib"] = None
    return Resources(**merged)


def declared_train(train: Train, families: Sequence[ModelFamily]) -> Train:
    """The `train` section with each key of `resources_per_worker` at the largest that one of the families needs."""
    each = [worker_resources(train, family).model_dump() for family in families]
    largest = {name: max((r[name] for r in each if r[name] is not None), default=None) for name in each[0]}
    return train.model_copy(update={"resources_per_worker": Resources(**largest)})
