"""What a program may use, and what came of it, as frozen values."""

from dataclasses import dataclass, fields

MIB = 1 << 20

PASSED, FAILED, TIMED_OUT, MEMORY, OUTPUT, REFUSED = "passed", "failed", "timed out", "memory", "output", "refused"
OUTCOMES = (PASSED, FAILED, TIMED_OUT, MEMORY, OUTPUT, REFUSED)
"""What a verdict can be; `refused` says that the program was not run, and is no score."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one program with all the processes that it starts.

    Args:
        wall_seconds: from its start; then all of it is killed.
        cpu_seconds: processor time of a process, whole seconds.
        memory_mib: what all processes hold together; read ten times a second.
        address_mib: address space of a process; libraries take far more of it than memory.
        processes: processes and threads at a time.
        disk_mib: what its temporary folder holds; it is memory of the machine too.
        file_mib: the largest file.
        files: files and folders in the temporary folder.
        open_files: of a process.
        output_kib: standard output and standard error together.

    Raises:
        ValueError: a limit that is not above 0.
    """

    wall_seconds: float = 10.0
    cpu_seconds: int = 10
    memory_mib: int = 1024
    address_mib: int = 2048
    processes: int = 32
    disk_mib: int = 64
    file_mib: int = 32
    files: int = 2048
    open_files: int = 128
    output_kib: int = 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not value > 0:
                raise ValueError(f"{field.name} must be above 0, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a program: one of `OUTCOMES`, why in a few words, and the seconds it took."""

    outcome: str
    reason: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"outcome must be one of {list(OUTCOMES)}, got {self.outcome!r}")

    @property
    def passed(self) -> bool:
        """Whether every test ran and held."""
        return self.outcome == PASSED
