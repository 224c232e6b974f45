"""What each worker is declared to have: the file's word, else the family's. Torch-free."""

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
