"""Who may write a sweep's log: one driver at a time, each under an epoch of its own.

The owner of the highest `lease/<epoch>.json` holds the lease. Such a file is created once, by whoever takes over, and
then written by its owner alone, every few seconds, with another `beat`. A driver that was frozen and wakes up finds a
higher epoch than its own and has lost.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from omsweep.store.storage import Storage

FOLDER = "lease"
BEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""An owner that cannot be looked at and has written nothing for so long is taken for dead."""
LOOK_SECONDS = 1.0


class LeaseHeld(ValueError):
    """Another driver runs the sweep."""


class LeaseLost(RuntimeError):
    """Another driver has taken the sweep over."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process: which machine and, there, which process of which start.

    Attributes:
        host: name of the machine, for people.
        machine: the same for processes that can see each other, and for no others.
        pid: process number there.
        start: clock ticks from the machine's start to the process's, so that a number used again is another process.
        job: submission id of the Ray job that it is the driver of.
    """

    host: str
    machine: str
    pid: int
    start: int
    job: str | None = None

    @classmethod
    def here(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(host=socket.gethostname(), machine=_machine(), pid=pid, start=_start_of(pid) or 0, job=_ray_job())

    @property
    def dead(self) -> bool:
        """Whether it is known to have ended: only of a process on this machine can that be seen."""
        return self.is_here and _start_of(self.pid) != self.start

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process of this machine that can be looked at."""
        return self.machine == _machine()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" + (f", Ray job {self.job}" if self.job else "")


class Lease:
    """A held lease; `take` makes one. Its heart beats in a thread until `release`."""

    def __init__(self, storage: Storage, epoch: int, owner: Owner, *, was_released: bool) -> None:
        self.epoch = epoch
        self.owner = owner
        self.was_released = was_released
        """Whether the one before can write no more: released, or dead."""
        self._storage = storage
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._beat, name="lease", daemon=True)

    @classmethod
    def take(
        cls,
        storage: Storage,
        *,
        say: Callable[[str], None] = lambda text: None,
        owner: Owner | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Self:
        """Take the lease: at once where nobody holds it or its owner is dead, else once its owner was silent.

        Args:
            storage: of the sweep.
            say: is told what is waited for.
            owner: who takes it, by default this process.
            sleep: for so many seconds.

        Raises:
            LeaseHeld: its owner lives; the message names it.
        """
        owner = owner or Owner.here()
        found = _newest(storage)
        released = found is None or _gone(found[1])
        if found is not None and not released:
            _wait_for_silence(storage, *found, say=say, sleep=sleep)
        epoch = 1 if found is None else found[0] + 1
        if not storage.create(_name(epoch), _content(epoch, owner, 0)):
            raise LeaseHeld(_held_by(_newest(storage)))
        lease = cls(storage, epoch, owner, was_released=released)
        lease._beats.start()
        return lease

    def check(self) -> None:
        """Raise LeaseLost where another driver has taken over, or the lease was given back."""
        if self._ended.is_set():
            raise LeaseLost("this driver has given the sweep back")
        if self._storage.read(_name(self.epoch + 1)) is not None:
            raise LeaseLost(f"this driver was silent and the sweep was taken over: {_held_by(_newest(self._storage))}")

    def release(self) -> None:
        """Give the lease back, so that the next driver need not wait; once."""
        if not self._ended.is_set():
            self._ended.set()
            self._beats.join()
            self._storage.write(_name(self.epoch), _content(self.epoch, self.owner, None))

    def _beat(self) -> None:
        beat = 0
        while not self._ended.wait(BEAT_SECONDS):
            beat += 1
            try:
                self._storage.write(_name(self.epoch), _content(self.epoch, self.owner, beat))
            except OSError:
                continue  # a full disk or an outage: the next beat may succeed, and silence is what it looks like


def holder(storage: Storage) -> Owner | None:
    """Who holds a sweep's lease and is not known to be dead; None where nobody does."""
    found = _newest(storage)
    return None if found is None or _gone(found[1]) else _owner(found[1])


def last_epoch(storage: Storage) -> int:
    """Of the last driver that took the lease, which may have written no event yet; 0 before the first."""
    found = _newest(storage)
    return 0 if found is None else found[0]


def silence(storage: Storage) -> float:
    """Seconds since the last sign of life of a sweep's last driver, as far as the clocks of two machines agree."""
    found = _newest(storage)
    return 0.0 if found is None else time.time() - found[1]["time"]


def _wait_for_silence(
    storage: Storage,
    epoch: int,
    seen: Mapping[str, Any],
    *,
    say: Callable[[str], None],
    sleep: Callable[[float], None],
) -> None:
    """Return once the owner has written nothing for `SILENT_SECONDS`; LeaseHeld as soon as it does.

    Looks are counted and not time, so that a process that was frozen meanwhile looks again before it takes over.
    """
    for look in range(round(SILENT_SECONDS / LOOK_SECONDS)):
        if look == round(2 * BEAT_SECONDS / LOOK_SECONDS):
            say(f"{_owner(seen)} holds this sweep and is silent; it is taken over after {SILENT_SECONDS:.0f} s")
        sleep(LOOK_SECONDS)
        now = _newest(storage)
        if now is None or now[0] != epoch or (now[1] != seen and not _gone(now[1])):
            raise LeaseHeld(_held_by(now))
        if _gone(now[1]):
            return


def _held_by(found: tuple[int, Mapping[str, Any]] | None) -> str:
    return "another driver runs this sweep" + ("" if found is None else f": {_owner(found[1])}")


def _gone(content: Mapping[str, Any]) -> bool:
    return content["beat"] is None or _owner(content).dead


def _newest(storage: Storage) -> tuple[int, Mapping[str, Any]] | None:
    for name in reversed(storage.names(FOLDER)):
        text = storage.read(f"{FOLDER}/{name}")
        if text is not None:
            content = json.loads(text)
            return content["epoch"], content
    return None


def _owner(content: Mapping[str, Any]) -> Owner:
    known = {one.name for one in fields(Owner)}  # a newer omsweep may say more
    return Owner(**{name: value for name, value in content["owner"].items() if name in known})


def _name(epoch: int) -> str:
    return f"{FOLDER}/{epoch:08d}.json"


def _content(epoch: int, owner: Owner, beat: int | None) -> bytes:
    """`beat` None says that the lease was given back."""
    return json.dumps({"epoch": epoch, "owner": asdict(owner), "beat": beat, "time": time.time()}).encode() + b"\n"


def _ray_job() -> str | None:
    """Submission id of the job whose entry point this process is, as Ray's job supervisor says it."""
    config = os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR")
    job: str | None = json.loads(config).get("metadata", {}).get("job_submission_id") if config else None
    return job


def _machine() -> str:
    """Equal for two processes that see each other's numbers: one start of one kernel, one namespace of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _start_of(pid: int) -> int | None:
    """When a process of this machine started, in clock ticks; None where there is none, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
