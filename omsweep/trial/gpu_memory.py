"""A worker's declared GPU memory made true: its card must have it, and its process takes no more."""

from omsweep.families.family import GIB

DEVICE = 0
"""Ray shows a worker its own GPUs only, and a worker trains on the first."""


def hold_gpu_memory(gib: float | None) -> None:
    """Hold this process to `gib` GiB of its GPU's memory; None holds it to nothing.

    Raises:
        ValueError: there is no GPU here, or one with less memory.
    """
    if gib is None:
        return
    import torch

    if not torch.cuda.is_available():
        raise ValueError(f"resources_per_worker.gpu_memory_gib is {gib:g}, and this worker sees no GPU")
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    if total < gib * GIB:
        raise ValueError(
            f"resources_per_worker.gpu_memory_gib is {gib:g}, and this worker's GPU has {total / GIB:.1f} GiB"
        )
    torch.cuda.set_per_process_memory_fraction(gib * GIB / total, DEVICE)


def free_gpu_memory() -> None:
    """Give back what this process's torch keeps of its GPU without need."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
