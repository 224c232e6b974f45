"""One event of a sweep's log as a line of strict JSON with a checksum, and which lines of a text are events.

A line is `{"v":1,"seq":4,"epoch":1,"time":1764460800.1,"kind":"started","trial_id":"...","attempt":1,"sum":"0f3a..."}`
with what its kind says in between: `seq` counts events from 1, `epoch` is that of the writer's lease, `time` is Unix
seconds, `sum` the CRC-32 of what stands before it. Imports neither torch nor Ray.
"""

import gc
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from omsweep.strict_json import plain

VERSION = 1
"""Raise it with a change that a reader must translate, and add to `MIGRATIONS` what does."""
HEAD = ("v", "seq", "epoch", "time", "kind", "trial_id", "attempt")
_SUM = b',"sum":"'
_END = len(_SUM) + len('0123abcd"}')


class DamagedLog(ValueError):
    """A log in which lines that were durable are gone or changed."""


class NewerLog(ValueError):
    """A log with events of a version that this omsweep does not know."""


class Event(NamedTuple):
    """Something that happened; `data` is what its kind says beside whose it is."""

    seq: int
    epoch: int
    time: float
    kind: str
    trial_id: str | None = None
    attempt: int | None = None
    data: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Scan:
    """What a text holds.

    Attributes:
        events: in order; what a writer without the lease wrote is not among them.
        end: length in bytes of its complete lines; what follows was being written and is torn.
        damage: one sentence for every complete line that is no event, and for every gap in `seq`.
    """

    events: Sequence[Event]
    end: int
    damage: Sequence[str]


def encode(event: Event) -> bytes:
    """The line of an event, newline included; ValueError for data that JSON cannot hold or that hide the head."""
    hidden = [name for name in (*HEAD, "sum") if name in event.data]
    if hidden:
        raise ValueError(f"data of an event must not be called {', '.join(hidden)}")
    head = {"v": VERSION, "seq": event.seq, "epoch": event.epoch, "time": event.time, "kind": event.kind}
    whose = {"trial_id": event.trial_id, "attempt": event.attempt}
    head |= {name: value for name, value in whose.items() if value is not None}
    content = {**head, **plain(event.data)}
    try:
        body = orjson.dumps(content)[:-1]
    except TypeError:  # integers beyond 64 bits, and half characters, as undecodable file names in errors have them
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")[:-1]
    return body + _SUM + b'%08x"}\n' % zlib.crc32(body)


def decode(line: bytes) -> Event:
    """The event of a line without its newline; ValueError where it is none, of these NewerLog where it may be one."""
    body = line[:-_END]
    if line[-_END:-10] != _SUM or line[-10:] != b'%08x"}' % zlib.crc32(body):
        raise ValueError("no event, or not as it was written")
    content = orjson.loads(body + b"}")
    try:
        version = content.pop("v")
        if version > VERSION:
            raise NewerLog(
                f"the log has an event of version {version}, this omsweep knows versions up to {VERSION}: upgrade it"
            )
        for number in range(version, VERSION):
            content = MIGRATIONS[number](content)
        take = content.pop
        head = take("seq"), take("epoch"), take("time"), take("kind"), take("trial_id", None), take("attempt", None)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no event: {error}") from None
    return Event(*head, content)


MIGRATIONS: Mapping[int, Any] = {}
"""By version of an event: what makes its content that of the next version."""


@contextmanager
def collection_paused() -> Iterator[None]:
    """Nothing that is read from a log is garbage, and looking for some takes longer than the reading."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@collection_paused()
def scan(text: bytes, *, after: int = 0, epoch: int = 0) -> Scan:
    """The events of a text whose reader knows those up to `after`, the newest of which was of `epoch`.

    An event of an older epoch than one before it was written by a driver that had lost its lease, and one that is
    known was written twice: neither counts.

    Raises:
        NewerLog: an event of a newer version, which must not be taken for a torn end and cut off.
    """
    events: list[Event] = []
    damage: list[str] = []
    for number, line in enumerate(_lines(text), start=1):
        try:
            event = decode(line)
        except NewerLog:
            raise
        except ValueError as error:
            damage.append(f"line {number}: {error}")
            continue
        if event.seq <= after or event.epoch < epoch:
            continue
        if event.seq > after + 1:
            damage.append(f"line {number}: {_gap(after + 1, event.seq - 1)} before it")
        events.append(event)
        after, epoch = event.seq, event.epoch
    return Scan(events, text.rfind(b"\n") + 1, damage)


def _gap(first: int, last: int) -> str:
    return f"event {first} is missing" if first == last else f"events {first} to {last} are missing"


def _lines(text: bytes) -> Iterator[bytes]:
    """Every complete line without its newline."""
    start = 0
    while (stop := text.find(b"\n", start)) >= 0:
        yield text[start:stop]
        start = stop + 1
