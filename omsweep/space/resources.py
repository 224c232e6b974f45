"""What each worker is declared to have: the file's word, else the family's. Torch-free."""

from omsweep.families.family import ModelFamily, Resources
from omsweep.space.schema import Evaluate, Train


def worker_resources(train: Train, family: ModelFamily) -> Resources:
    """What a worker that trains `family` is declared to have: the file's word, else the family's."""
    return _over(train.resources_per_worker, family.resources)


def scorer_resources(evaluate: Evaluate, train: Train, family: ModelFamily) -> Resources:
    """What a worker of a group that only scores is declared to have: its own word, else that of one that trains."""
    return _over(evaluate.resources_per_worker, worker_resources(train, family))


def _over(declared: Resources, usual: Resources) -> Resources:
    """GPU memory that is usual belongs to the usual GPU: it does not count where that is taken away."""
    merged = {name: value if value is not None else getattr(usual, name) for name, value in declared}
    if not merged["gpus"] and declared.gpu_memory_gib is None:
        merged["gpu_memory_gib"] = None
    return Resources(**merged)
