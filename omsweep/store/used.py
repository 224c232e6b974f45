"""What a sweep has used of time and machines, as far as its log says."""

from typing import NamedTuple


class Holding(NamedTuple):
    """What an attempt that runs holds, and since when in Unix time."""

    since: float
    cpus: float
    gpus: float


class Used(NamedTuple):
    """What was used.

    Attributes:
        trials: trained trials that were begun.
        wall_seconds: in which a driver was at work, from when its models and data were ready.
        cpu_seconds, gpu_seconds: CPUs and GPUs times the seconds that attempts held them.
    """

    trials: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0

    def and_held(self, held: Holding, until: float) -> "Used":
        """With what an attempt held until then."""
        seconds = until - held.since
        return self._replace(
            cpu_seconds=self.cpu_seconds + held.cpus * seconds, gpu_seconds=self.gpu_seconds + held.gpus * seconds
        )
