"""A log in an object store: one object for every flush, merged as they grow, each written once by one driver."""

import contextlib
import errno
import importlib
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("obstore")

import obstore
from obstore import exceptions
from obstore.store import MemoryStore

from omsweep import extras
from omsweep.store import lease as lease_module
from omsweep.store import objects
from omsweep.store.events import Event, encode
from omsweep.store.lease import LeaseLost
from omsweep.store.log import LogReader, SweepLog, read_state
from omsweep.store.objects import ObjectStorage
from omsweep.store.storage import StorageAway, StorageFull


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def storage(store: MemoryStore) -> ObjectStorage:
    opened = ObjectStorage("memory:///demo", store)
    opened.open_log()
    return opened


def again(storage: ObjectStorage) -> ObjectStorage:
    return ObjectStorage(storage.uri, storage._store)


def line(seq: int) -> bytes:
    return encode(Event(seq, 1, float(seq), "driver"))


def seqs(reader: LogReader) -> list[int]:
    return [event.seq for event in reader.new()]


# Merging


def test_objects_are_merged_as_they_grow(storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "MERGED", 4)
    for number in range(1, 71):
        storage.append(line(number), sync=True)
        text, position = again(storage).events_from(0)
        assert text == b"".join(map(line, range(1, number + 1)))
        assert position == number
        assert len(storage.names("events")) <= 3 * 4
    assert storage.names("events") == [
        "000000-0000000000-0000000063.jsonl",
        "000000-0000000064-0000000067.jsonl",
        "000000-0000000068.jsonl",
        "000000-0000000069.jsonl",
    ]


def test_readers_at_every_place_follow_what_is_merged(storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "MERGED", 4)
    readers: list[LogReader] = []
    for number in range(1, 40):
        readers.append(LogReader(again(storage)))
        for known, reader in enumerate(readers):
            if (known + number) % 5 == 0:  # each reads now and then
                reader.new()
        storage.append(line(number), sync=True)
    assert [seqs(reader)[-1:] or [39] for reader in readers] == [[39]] * len(readers)
    fresh = [LogReader(again(storage), after=known) for known in range(40)]
    assert [seqs(reader) for reader in fresh] == [list(range(known + 1, 40)) for known in range(40)]


def test_what_is_merged_while_it_is_read_is_read(storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "MERGED", 4)
    for number in range(1, 4):
        storage.append(line(number), sync=True)
    reader, read, waiting = again(storage), ObjectStorage.read, [line(4)]

    def merged_first(self: ObjectStorage, name: str) -> bytes | None:
        with contextlib.suppress(IndexError):  # several threads read at once, and one of them appends
            if self is reader:
                storage.append(waiting.pop(), sync=True)
        return read(self, name)

    monkeypatch.setattr(ObjectStorage, "read", merged_first)
    assert reader.events_from(0) == (b"".join(map(line, range(1, 5))), 4)


class Died(BaseException):
    """The process is gone: nothing that it does after that has an effect."""


def dies_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its `number`-th request on no request of this process reaches the store."""
    left = iter([*range(number)])

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **names: Any) -> Any:
            if next(left, None) is None:
                raise Died
            return call(*arguments, **names)

        return called

    for name in ("put", "delete", "list_with_delimiter"):
        monkeypatch.setattr(objects.obstore, name, dying(getattr(obstore, name)))


def test_a_driver_that_dies_at_any_request_loses_and_doubles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "MERGED", 3)
    monkeypatch.setattr(lease_module, "_gone", lambda content: True)  # else the next waits for this process's lease
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 1e6)
    number, died = 0, True
    while died:
        store, appended, died = MemoryStore(), 0, False
        SweepLog.open(ObjectStorage("memory:///demo", store)).append("driver", number=0)
        with monkeypatch.context() as patched:
            dies_at(number, patched)
            try:
                log = SweepLog.open(ObjectStorage("memory:///demo", store), say=lambda text: None)
                log.storage.rewrite(log.storage.events_from(0)[0])  # as after a driver that may still live
                for appended in range(10):
                    log.append("driver", number=appended + 1)
                appended = 10
            except Died:
                died = True
        following = SweepLog.open(ObjectStorage("memory:///demo", store))
        assert following.state.seq in (1 + appended, 2 + appended), number
        for more in range(following.state.seq, 30):
            following.append("driver", number=more)
        found = LogReader(ObjectStorage("memory:///demo", store)).new()
        assert [event.data["number"] for event in found] == list(range(30)), number
        number += 1
    assert number > 40


# One writer


def test_a_number_that_another_driver_has_written_is_lost(storage: ObjectStorage) -> None:
    storage.append(line(1), sync=True)
    other = again(storage)
    other.open_log()
    other.append(line(2), sync=True)
    with pytest.raises(LeaseLost, match="another driver has written memory:///demo/events/000000-0000000001.jsonl"):
        storage.append(b"ours\n", sync=True)
    assert again(storage).events_from(0)[0] == line(1) + line(2)


def test_a_put_that_was_repeated_is_ours(storage: ObjectStorage, store: MemoryStore) -> None:
    obstore.put(store, "events/000000-0000000000.jsonl", line(1))
    storage.append(line(1), sync=True)
    storage.append(line(2), sync=True)
    assert again(storage).events_from(0)[0] == line(1) + line(2)


def test_a_put_without_an_answer_is_repeated_and_counts_once(
    storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.append(line(1), sync=False)

    def unanswered(*arguments: Any, **names: Any) -> None:
        obstore_put(*arguments, **names)
        raise exceptions.GenericError("Generic S3 error: timed out")

    obstore_put = obstore.put
    with monkeypatch.context() as patched:
        patched.setattr(objects.obstore, "put", unanswered)
        with pytest.raises(StorageAway, match="memory:///demo does not take a request: Generic S3 error: timed out"):
            storage.append(line(2), sync=True)
    storage.append(line(2), sync=True)
    storage.append(line(3), sync=True)
    assert again(storage).events_from(0)[0] == line(1) + line(2) + line(3)


def test_a_store_that_overwrites_is_refused(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put = obstore.put
    monkeypatch.setattr(objects.obstore, "put", lambda store, path, file, mode=None: put(store, path, file))
    with pytest.raises(OSError, match=r"overwrites where it should refuse \(If-None-Match\)") as caught:
        ObjectStorage("memory:///demo", store).open_log()
    assert caught.value.errno == errno.ENOTSUP


def test_a_merge_that_fails_stops_nothing(storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "MERGED", 4)

    def refuses(*arguments: Any) -> None:
        raise exceptions.GenericError("no")

    with monkeypatch.context() as patched:
        patched.setattr(objects.obstore, "delete", refuses)
        for number in range(1, 10):
            storage.append(line(number), sync=True)
    assert seqs(LogReader(again(storage))) == list(range(1, 10))
    for number in range(10, 17):
        storage.append(line(number), sync=True)
    assert storage.names("events") == ["000000-0000000000-0000000015.jsonl"]
    assert seqs(LogReader(again(storage))) == list(range(1, 17))


def test_lines_that_need_no_sync_go_after_a_second(store: MemoryStore) -> None:
    times = [0.0]
    storage = ObjectStorage("memory:///demo", store, clock=lambda: times[0])
    storage.open_log()
    for number, seconds in ((1, 0.0), (2, 0.5), (3, 0.9), (4, 1.0), (5, 1.5)):
        times[0] = seconds
        storage.append(line(number), sync=False)
    assert seqs(LogReader(again(storage))) == [1, 2, 3, 4]
    times[0] = 2.5
    storage.append(line(6), sync=False)
    assert seqs(LogReader(again(storage))) == [1, 2, 3, 4, 5, 6]
    assert len(storage.names("events")) == 2


# What is told

SECRET = (
    "Generic S3 error: GET https://user:hunter2@host/x?X-Amz-Signature=hunter2&a=1: 403 <Error>hunter2</Error>\nhunter2"
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.PermissionDeniedError(SECRET), PermissionError),
        (exceptions.UnauthenticatedError(SECRET), PermissionError),
        (exceptions.GenericError(SECRET), StorageAway),
        (exceptions.GenericError(f"{SECRET} <Code>XMinioStorageFull</Code>"), StorageFull),
        (exceptions.GenericError("Server returned error status 507 Insufficient Storage"), StorageFull),
        (FileNotFoundError(SECRET), FileNotFoundError),
        (exceptions.GenericError("Server returned non-2xx status code: 404 Not Found:"), FileNotFoundError),
        (exceptions.GenericError("Server returned non-2xx status code: 400 Bad Request:"), OSError),
        (exceptions.GenericError("Server returned non-2xx status code: 429 Too Many Requests:"), StorageAway),
        (exceptions.NotSupportedError("conditional put"), OSError),
    ],
)
def test_errors_have_a_kind_and_hold_no_secret(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[OSError]
) -> None:
    def fails(*arguments: Any, **names: Any) -> None:
        raise error

    storage = ObjectStorage("s3://user:hunter2@bucket/demo?sas_token=hunter2", store)
    monkeypatch.setattr(objects.obstore, "put", fails)
    with pytest.raises(kind, match="^.*s3://bucket/demo") as caught:
        storage.write("x", b"")
    assert "hunter2" not in str(caught.value)
    assert type(caught.value) is kind
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("uri", ["nowhere://bucket/demo", "s3:///", "runs"])
def test_another_uri_is_refused_in_words(uri: str) -> None:
    with pytest.raises(ValueError, match=rf"storage must be a folder or a URI such as s3://bucket/path.*got '{uri}'"):
        ObjectStorage(uri)


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    monkeypatch.delitem(sys.modules, "omsweep.store.objects")
    with pytest.raises(ValueError, match=r"an object store needs obstore, .*: pip install 'omsweep\[object-store\]'"):
        importlib.import_module("omsweep.store.objects")


# A real server that speaks S3, on loopback

DRIVER = """
import random, sys, time
from omsweep.store import lease
lease.BEAT_SECONDS, lease.SILENT_SECONDS, lease.LOOK_SECONDS = 0.1, 1.5, 0.1
from omsweep.store import objects
objects.MERGED = 8
from omsweep.store.log import SweepLog
draw, number = random.Random(int(sys.argv[1])), 0
while True:
    try:
        log = SweepLog.open(objects.ObjectStorage("s3://sweeps/race"))
        for _ in range(draw.randrange(1, 30)):
            number += 1
            name = f"{sys.argv[1]}-{number}"
            sync = draw.random() < 0.9
            log.append("driver", name=name, sync=sync)
            if sync:
                print("appended", name, flush=True)
        log.close()
    except lease.LeaseHeld:
        time.sleep(0.05)
    except lease.LeaseLost:
        print("lost", flush=True)
"""


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """moto's server, one request at a time: its conditional put looks and writes in two steps."""
    app = pytest.importorskip("moto.moto_server.werkzeug_app")
    serving = pytest.importorskip("werkzeug.serving")
    handler = type("Quiet", (serving.WSGIRequestHandler,), {"log_request": lambda self, *arguments: None})
    application = app.DomainDispatcherApplication(app.create_backend_app)
    server = serving.make_server("127.0.0.1", 0, application, threaded=False, request_handler=handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    uri = f"http://127.0.0.1:{server.server_port}"
    secrets = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}
    for name, value in {"AWS_ENDPOINT_URL": uri, "AWS_ALLOW_HTTP": "true", **secrets}.items():
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(urllib.request.Request(f"{uri}/sweeps", method="PUT")).read()
    yield uri
    server.shutdown()
    server.server_close()


@pytest.mark.campaign
def test_a_log_on_a_server(s3: str) -> None:
    log, reader = SweepLog.open(ObjectStorage("s3://sweeps/demo")), LogReader(ObjectStorage("s3://sweeps/demo"))
    read: list[int] = []
    for _ in range(140):
        log.append("driver")
        read += seqs(reader)
    assert read == list(range(1, 141))
    assert len(log.storage.names("events")) == 2 + 140 - 128
    log.close()
    assert read_state(ObjectStorage("s3://sweeps/demo")) == log.state
    with pytest.raises(FileNotFoundError, match="s3://nowhere/demo does not take a request: .*404"):
        SweepLog.open(ObjectStorage("s3://nowhere/demo"))


@pytest.mark.campaign
def test_drivers_that_race_on_a_server_lose_and_double_nothing(s3: str, tmp_path: Path) -> None:
    """Killed, frozen and woken at random for 40 s: what `append` returned is in the log once."""
    draw = random.Random(0)
    running: list[subprocess.Popen[bytes]] = []
    started = 0

    def start() -> None:
        nonlocal started
        with (tmp_path / f"{started}.out").open("wb") as out:
            running.append(subprocess.Popen([sys.executable, "-c", DRIVER, str(started)], stdout=out))
        started += 1

    for _ in range(2):
        start()
    done: Counter[str] = Counter()
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        time.sleep(draw.uniform(0.2, 1.0))
        process = draw.choice(running)
        assert process.poll() is None, "a driver failed"
        what = draw.choice(["kill", "freeze", "freeze", "look"])
        done[what] += 1
        if what == "kill":
            process.kill()
            process.wait()
            running.remove(process)
            start()
        elif what == "freeze":
            process.send_signal(signal.SIGSTOP)
            time.sleep(draw.choice([0.5, 3.0]))
            process.send_signal(signal.SIGCONT)
    for process in running:
        process.kill()
        process.wait()
    said = "".join((tmp_path / f"{number}.out").read_text() for number in range(started)).splitlines()
    appended = Counter(one.split()[1] for one in said if one.startswith("appended "))
    events = LogReader(ObjectStorage("s3://sweeps/race")).new()
    logged = Counter(event.data["name"] for event in events)
    print(f"{dict(done)}, {len(events)} events, {said.count('lost')} leases lost, {events[-1].epoch} leases")
    assert min(done.values()) > 3
    assert set(logged.values()) == {1}
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert appended.keys() <= logged.keys()
    assert set(appended.values()) == {1}
    assert len(events) > 200
