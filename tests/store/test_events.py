"""Events of the log: nothing that was changed on the disk is read as if it were not, and no version is misread."""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omsweep.store import events
from omsweep.store.events import VERSION, Event, NewerLog, decode, encode, scan

V1 = (Path(__file__).parent / "logs" / "v1.jsonl").read_bytes()
EVENTS = scan(V1).events


def line(seq: int, epoch: int = 1, **changes: Any) -> bytes:
    return encode(
        Event(seq=seq, epoch=epoch, time=float(seq), kind="started", trial_id="a", attempt=1)._replace(**changes)
    )


def raw(content: bytes) -> bytes:
    """A line with the right checksum."""
    return content + b',"sum":"%08x"}\n' % zlib.crc32(content)


def test_what_is_written_is_read() -> None:
    event = Event(3, 2, 0.1 + 0.2, "proposed", "a", 1, {"trial": {"x": [1, 2.5, None, True, 'é\n"<\u2028']}, "n": -0.0})
    assert decode(encode(event)[:-1]) == event
    assert encode(event).count(b"\n") == 1
    bare = Event(1, 1, 0.0, "driver")
    assert decode(encode(bare)[:-1]) == bare


def test_data_become_strict_json() -> None:
    data = {
        "nan": math.nan,
        "inf": np.float32("inf"),
        "array": np.arange(3),
        "path": Path("/a"),
        3: (1, 2),
        "set": {2, 1},
    }
    read = decode(line(1, data=data)[:-1]).data
    assert read == {"nan": None, "inf": None, "array": [0, 1, 2], "path": "/a", "3": [1, 2], "set": [1, 2]}


@pytest.mark.parametrize(
    ("value", "read"), [("a\udcffb", "a?b"), (2**70, float(2**70)), (-(2**63), -(2**63)), ("\x00", "\x00")]
)
def test_every_text_and_integer_can_be_said(value: Any, read: Any) -> None:
    assert decode(line(1, data={"error": value})[:-1]).data == {"error": read}


@pytest.mark.parametrize("name", ["v", "seq", "epoch", "time", "kind", "trial_id", "attempt", "sum"])
def test_data_do_not_hide_the_head(name: str) -> None:
    with pytest.raises(ValueError, match=f"must not be called {name}"):
        line(1, data={name: 1})


def test_data_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be stored as JSON"):
        line(1, data={"x": object()})


def test_every_cut_leaves_a_beginning_of_the_log() -> None:
    for length in range(len(V1)):
        found = scan(V1[:length])
        complete = V1[:length].count(b"\n")
        assert (list(found.events), found.damage) == (list(EVENTS[:complete]), [])
        assert found.end == V1.rfind(b"\n", 0, length) + 1


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80], ids=hex)
def test_every_changed_byte_is_noticed_or_tears_the_end(flip: int) -> None:
    last = V1.rindex(b"\n", 0, -1) + 1
    for place in range(len(V1)):
        found = scan(V1[:place] + bytes([V1[place] ^ flip]) + V1[place + 1 :])
        if place < len(V1) - 1:
            assert found.damage, place
        else:  # its last newline
            assert (list(found.events), found.end, found.damage) == (list(EVENTS[:-1]), last, [])


def test_damage_says_which_lines_and_which_events() -> None:
    lines = V1.splitlines(keepends=True)
    found = scan(b"".join([*lines[:3], b"?" + lines[3], *lines[4:8], *lines[9:]]))
    assert found.damage == [
        "line 4: no event, or not as it was written",
        "line 5: event 4 is missing before it",
        "line 9: event 9 is missing before it",
    ]
    assert [event.seq for event in found.events] == [seq for seq in range(1, 26) if seq not in (4, 9)]
    assert scan(line(1) + line(5)).damage == ["line 2: events 2 to 4 are missing before it"]
    assert scan(line(2)).damage == ["line 1: event 1 is missing before it"]


def test_an_event_written_twice_counts_once() -> None:
    found = scan(line(1) + line(2) + line(2, kind="lost") + line(1) + line(3))
    assert [(event.seq, event.kind) for event in found.events] == [(1, "started"), (2, "started"), (3, "started")]
    assert not found.damage


def test_a_driver_that_lost_its_lease_writes_nothing_that_counts() -> None:
    text = line(1, 1) + line(2, 2) + line(2, 1, kind="ended") + line(3, 1, kind="ended") + line(3, 2) + line(4, 3)
    found = scan(text)
    assert [(event.seq, event.epoch, event.kind) for event in found.events] == [
        (1, 1, "started"),
        (2, 2, "started"),
        (3, 2, "started"),
        (4, 3, "started"),
    ]
    assert not found.damage
    assert found.end == len(text)


def test_reading_goes_on_where_it_was() -> None:
    for first in range(len(EVENTS) + 1):
        known = EVENTS[:first]
        text = b"".join(map(encode, EVENTS[max(0, first - 2) :]))  # two that are known come again
        found = scan(text, after=known[-1].seq if known else 0, epoch=1)
        assert [*known, *found.events] == list(EVENTS)
        assert not found.damage


def test_unknown_kinds_and_fields_are_kept() -> None:
    text = line(1, kind="teleported", data={"where": [1]}) + line(2, data={"new_field": {"x": 1}})
    assert [(one.kind, one.data) for one in scan(text).events] == [
        ("teleported", {"where": [1]}),
        ("started", {"new_field": {"x": 1}}),
    ]
    assert b"".join(map(encode, scan(text).events)) == text


@pytest.mark.parametrize("place", ["middle", "end"])
def test_a_newer_version_is_refused_in_words_and_never_taken_for_a_torn_end(place: str) -> None:
    newer = raw(line(2)[:-1].replace(b'"v":1', b'"v":%d' % (VERSION + 1))[: -len(b',"sum":"01234567"}')])
    with pytest.raises(
        NewerLog, match=f"version {VERSION + 1}, this omsweep knows versions up to {VERSION}: upgrade it"
    ):
        scan(line(1) + newer + (line(3) if place == "middle" else b""))


@pytest.mark.parametrize(
    "content", [b"{", b"[1", b"null", b'{"v":1', b'{"seq":1', b'{"v":"1","seq":1', b'{"v":0,"seq":1', b'{"v":null', b""]
)
def test_a_line_with_a_right_sum_that_is_no_event_is_damage(content: bytes) -> None:
    found = scan(raw(content) + line(1))
    assert (len(found.events), len(found.damage)) == (1, 1)


def test_a_former_version_is_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "VERSION", 2)
    monkeypatch.setattr(events, "MIGRATIONS", {1: lambda content: {**content, "kind": content["kind"].upper()}})
    assert [event.kind for event in scan(V1).events] == [event.kind.upper() for event in EVENTS]


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_logs_of_every_version_are_read(version: int) -> None:
    text = (Path(__file__).parent / "logs" / f"v{version}.jsonl").read_bytes()
    found = scan(text)
    assert not found.damage
    assert found.end == len(text)
    assert [event.seq for event in found.events] == list(range(1, text.count(b"\n") + 1))
    if version == VERSION:
        assert b"".join(map(encode, found.events)) == text
