"""A sweep's storage in an object store: S3 and what speaks like it, Google Cloud Storage, Azure.

The log is one object for every flush, `events/<generation>-<number>.jsonl`, under a name that can be written only once,
so that of two drivers that write the same number one fails. Every 64 objects are merged into a segment
`events/<generation>-<first>-<last>.jsonl`: it is written first, then what it holds is removed, and who sees both reads
it once. Replacing the log begins a generation; former ones count no longer, so that who was late in writing one wrote
nowhere. Positions of the log are numbers of flushes.
"""

import errno
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from omsweep.extras import require
from omsweep.redaction import redacted, without_credentials
from omsweep.store.lease import LeaseLost
from omsweep.store.storage import StorageAway, StorageFull

require("storage in an object store", ["obstore"])

import obstore  # noqa: E402
from obstore import exceptions  # noqa: E402
from obstore.store import ObjectStore, from_url  # noqa: E402

if TYPE_CHECKING:
    from obstore.store import RetryConfig

HOLD_SECONDS = 1.0
"""Lines that need not be synced wait so long for others, to be written with the next append after that."""
MERGED = 64
"""So many objects become one, and so many of these again."""
READERS = 16
RETRY = timedelta(seconds=60)
"""A request that fails for want of an answer (obstore waits 30 s for one) is repeated for so long."""
PROBE = "conditional-put"
_FOLDER = "events"
_NAME = re.compile(r"(\d{6})-(\d{10})(?:-(\d{10}))?\.jsonl")
_REFUSED = re.compile(r"status code: (4(?!08|29)\d\d)")
"""An answer that will not change: not a timeout (408), nor too many requests (429)."""
_FULL = re.compile(r"\b507\b|StorageFull|QuotaExceeded|InsufficientStorage")


class Part(NamedTuple):
    """An object that holds flushes `first` to `last` of a generation of the log."""

    generation: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """Of the object."""
        last = "" if self.first == self.last else f"-{self.last:010d}"
        return f"{_FOLDER}/{self.generation:06d}-{self.first:010d}{last}.jsonl"


class ObjectStorage:
    """Storage under a URI such as `s3://bucket/sweeps/demo`; how to get in is taken from the environment.

    What a method cannot do is an OSError that names the URI and holds no secret: StorageAway, StorageFull,
    PermissionError, FileNotFoundError for a bucket that is not there.

    Args:
        uri: of the sweep.
        store: what the URI stands for, where it is made elsewhere.
        clock: seconds.

    Raises:
        ValueError: no such kind of URI. Without the extra `object-store` importing this module raises one.
    """

    def __init__(
        self, uri: str, store: ObjectStore | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.uri = without_credentials(uri)
        self._store = _store(uri) if store is None else store
        self._clock = clock
        self._next: Part | None = None  # where the next flush goes
        self._held = b""
        self._held_since = 0.0

    def read(self, name: str) -> bytes | None:
        """The content of a file, None where there is none."""
        with self._told():
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Replace a file."""
        with self._told():
            obstore.put(self._store, name, content)

    def create(self, name: str, content: bytes) -> bool:
        """Make a file, or return False where there is one with other content; the same may be ours, sent twice."""
        return self._created(name, content) or self.read(name) == content

    def names(self, folder: str) -> list[str]:
        """Names of a folder's files, sorted; none where there is no such folder."""
        with self._told():
            found = obstore.list_with_delimiter(self._store, folder)["objects"]
        return sorted(name for one in found if not (name := one["path"].rpartition("/")[2]).startswith("."))

    def remove(self, name: str) -> None:
        """Remove a file, or do nothing where there is none."""
        with self._told(), suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def open_log(self) -> bytes:
        """The whole log, for who writes it from now on."""
        if self._created(PROBE, b"1") and self._created(PROBE, b"2"):
            raise OSError(
                errno.ENOTSUP, f"{self.uri} overwrites where it should refuse (If-None-Match): no log can lie there"
            )
        self._held = b""
        text, self._next = self._read(0)
        return text

    def append(self, lines: bytes, *, sync: bool) -> None:
        """Add lines to the log that was opened; without `sync` they may wait for the next append.

        Raises:
            StorageFull, StorageAway: it may be tried again with the same lines; they are added once.
            LeaseLost: another driver has written the log.
        """
        if not self._held:
            self._held_since = self._clock()
        if not sync and self._clock() - self._held_since < HOLD_SECONDS:
            self._held += lines
            return
        self._flush(self._held + lines)
        with suppress(OSError):  # the next merge takes what this one leaves
            self._merge()

    def events_from(self, position: int) -> tuple[bytes, int]:
        """The log after a position, and the position after that; it may begin with lines from before the position."""
        text, following = self._read(position)
        return text, max(position, following.first)

    def rewrite(self, lines: bytes) -> None:
        """Replace the log in one step, and open it; a writer that had it open before writes nowhere."""
        while True:
            former = self._parts()
            generation, last = max(((part.generation, part.last) for part in former), default=(-1, -1))
            whole = Part(generation + 1, 0, last + 1)
            if self._created(whole.name, lines):
                break
        self._held, self._next = b"", _after(whole)
        for part in former:
            self.remove(part.name)

    def close(self) -> None:
        """Write what waits and let go of the log."""
        if self._held:
            self._flush(self._held)
        self._next = None

    def _flush(self, lines: bytes) -> None:
        assert self._next is not None, "open_log or rewrite comes first"
        if not self.create(self._next.name, lines):
            raise LeaseLost(f"another driver has written {self.uri}/{self._next.name}")
        self._held, self._next = b"", _after(self._next)

    def _merge(self) -> None:
        """Merge the newest objects where their number has come round."""
        assert self._next is not None
        size = MERGED
        while self._next.first % size == 0:
            parts = [part for part in self._parts() if part.generation == self._next.generation]
            parts = [part for part in parts if part.first >= self._next.first - size]
            needed = _needed(parts, 0)
            texts = self._texts(needed)
            if len(needed) > 1 and None not in texts:
                whole = needed[0]._replace(last=needed[-1].last)
                self.write(whole.name, b"".join(text for text in texts if text))
                for part in parts:
                    if part != whole:
                        self.remove(part.name)
            size *= MERGED

    def _read(self, position: int) -> tuple[bytes, Part]:
        """The log from a position on, and where the next flush goes."""
        for _ in range(10):
            parts = self._parts()
            parts = [part for part in parts if part.generation == parts[-1].generation]
            needed = _needed(parts, position)
            texts = self._texts(needed)
            if None not in texts:
                last = max(parts, key=lambda part: part.last, default=Part(0, -1, -1))
                return b"".join(text for text in texts if text), _after(last)
        raise StorageAway(errno.EIO, f"{self.uri} lists parts of the log that it does not have")  # not merged just now

    def _created(self, name: str, content: bytes) -> bool:
        with self._told():
            try:
                obstore.put(self._store, name, content, mode="create")
            except exceptions.AlreadyExistsError:
                return False
        return True

    def _parts(self) -> list[Part]:
        """Of the log, in order; of those that begin alike, what holds more comes first."""
        found = (_NAME.fullmatch(name) for name in self.names(_FOLDER))
        parts = [Part(int(match[1]), int(match[2]), int(match[3] or match[2])) for match in found if match]
        return sorted(parts, key=lambda part: (part.generation, part.first, -part.last))

    def _texts(self, parts: Sequence[Part]) -> list[bytes | None]:
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self.read, [part.name for part in parts]))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the object store as the OSErrors that the log knows."""
        try:
            yield
        except (FileNotFoundError, exceptions.BaseError) as error:
            kind, number = _kind(error)
            raise kind(number, f"{self.uri} does not take a request: {_reason(error)}") from None


def _kind(error: Exception) -> tuple[type[OSError], int]:
    """What an object store's error is to the log, which waits where there is no room or no answer."""
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return PermissionError, errno.EACCES
    if _FULL.search(str(error)):
        return StorageFull, errno.ENOSPC
    status = _REFUSED.search(str(error))
    if isinstance(error, FileNotFoundError) or (status and status[1] == "404"):
        return FileNotFoundError, errno.ENOENT
    if status or not isinstance(error, exceptions.GenericError):
        return OSError, errno.EINVAL
    return StorageAway, errno.EIO


def _store(uri: str) -> ObjectStore:
    retry: RetryConfig = {"retry_timeout": RETRY}
    try:
        return from_url(uri, retry_config=retry)  # client options would hide those of the environment
    except (exceptions.BaseError, ValueError) as error:
        raise ValueError(
            f"storage must be a folder or a URI such as s3://bucket/path, gs://bucket/path or az://container/path, "
            f"got {redacted(uri)!r}: {_reason(error)}"
        ) from None


def _needed(parts: Sequence[Part], position: int) -> list[Part]:
    """Those that hold the log from a position on, each flush once."""
    needed = []
    for part in parts:
        if part.last >= position:
            needed.append(part)
            position = part.last + 1
    return needed


def _after(part: Part) -> Part:
    """The flush that follows."""
    return Part(part.generation, part.last + 1, part.last + 1)


def _reason(error: Exception) -> str:
    """An object store's error in one line, without what a server's answer repeats of the request."""
    return redacted(str(error).split("\n")[0].split("<")[0]).strip()
