"""A store that goes away, comes back or refuses, a sink that is killed: what is written, and what the user is told."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow")

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from omsweep.sinks import follow
from omsweep.sinks.front import ranks
from omsweep.sinks.mlflow import MlflowSink
from omsweep.store.events import Event
from omsweep.store.lease import LeaseLost
from tests.sinks.fake_mlflow import FakeClient
from tests.sinks.story import STORY, MemoryStorage, created, ended, numbered, progress, proposed, started

SECRET_ERROR = MlflowException(f"{'x' * (follow.LONGEST_REASON - 18)} http://me:hunter2@mlflow:5000/api failed")
FOLDER = Path("/results/s")


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture(autouse=True)
def connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of a store is that of its URI; the pauses are short, and nothing is drawn."""
    monkeypatch.setattr("omsweep.sinks.mlflow.opened", lambda uri, experiment: (CLIENTS[uri], "1"))
    monkeypatch.setattr("omsweep.sinks.front.drawn", lambda state, folder: {"front.csv": str(ranks(state))})
    monkeypatch.setattr(follow, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0.01)


CLIENTS: dict[str, FakeClient] = {}


def sink_of(client: FakeClient, storage: Any, said: list[str] | None = None, **options: Any) -> MlflowSink:
    uri = f"http://me:hunter2@mlflow/{id(client)}"
    CLIENTS[uri] = client
    return MlflowSink(storage, uri, "s", FOLDER, [].append if said is None else said.append, **options)


def told(client: FakeClient, storage: Any, said: list[str] | None = None) -> bool:
    """Have a sink tell all it can, from where the last one was."""
    sink = sink_of(client, storage, said)
    sink.start()
    sink.flush(timeout=2.0)
    return sink.stop()


@contextmanager
def following(client: FakeClient, storage: Any, said: list[str]) -> Iterator[MlflowSink]:
    sink = sink_of(client, storage, said)
    sink.start()
    yield sink
    sink.stop()


def undisturbed(events: Sequence[Event]) -> dict[str | None, Any]:
    client = FakeClient()
    assert told(client, MemoryStorage(events))
    return client.content()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Killer:
    """Stops a sink dead at one of its writes, in MLflow or of its cursor: before it is carried out, or after."""

    def __init__(self, at: int, after: bool) -> None:
        self.left, self.after = at, after

    def __call__(self, name: str, call: Callable[[], Any]) -> Any:
        if name in ("search_runs", "get_run"):
            return call()
        self.left -= 1
        if self.left:
            return call()
        if self.after:
            call()
        raise LeaseLost  # which ends the thread at once


def test_the_story_is_told() -> None:
    runs = undisturbed(STORY)
    assert {whose: run["status"] for whose, run in runs.items()} == {
        None: "FINISHED",
        "t0": "FINISHED",
        "t1": "FINISHED",
        "t2": "FAILED",  # is to be tried again, and was not yet
    }
    assert (runs["t1"]["tags"]["state"], runs["t1"]["tags"]["error"]) == ("completed", "")
    assert runs["t1"]["tags"]["lost.1"] == "process lost: killed"
    assert runs["t1"]["tags"]["attempt"] == "4"
    ms = {event.seq: round(event.time * 1000) for event in STORY}
    losses = sorted(point[1:] for point in runs["t1"]["points"] if point[0] == "loss")
    expected = [(9, 1, 0.7), (11, 2, 0.6), (11, 3, 0.5), (20, 3, 0.5), (20, 4, 0.4), (26, 5, 0.4), (26, 6, 0.3)]
    assert losses == [(ms[seq], step, loss) for seq, step, loss in expected]
    tax = [point[1:] for point in runs["t0"]["points"] if point[0] == "tax.math"]
    assert tax == [(ms[13], 0, pytest.approx(15.0))]
    assert ("reward_report", ms[28], 0, 0.4) in runs["t0"]["points"]
    assert (runs["t0"]["start_time"], runs["t0"]["end_time"]) == (ms[6], ms[13])
    assert sorted(step for key, _, step, _ in runs[None]["points"] if key == "hypervolume") == [1, 2, 2, 3]
    assert runs[None]["tags"]["seeds"] == "2"
    assert runs[None]["params"]["seeds"] == "1"


def test_telling_it_all_again_changes_nothing() -> None:
    client, storage = FakeClient(), MemoryStorage(STORY)
    assert told(client, storage)
    before, ids, calls = client.content(), set(client.active()), len(client.calls)
    assert told(client, storage)
    assert client.calls[calls:] == ["get_run"]  # nothing is new
    storage.files.clear()
    assert told(client, storage)
    assert (client.content(), set(client.active())) == (before, ids)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("events", [STORY, STORY[:15]], ids=["closed", "open"])
def test_a_sink_killed_at_any_write_is_continued_to_the_same_runs(events: Sequence[Event], after: bool) -> None:
    expected = undisturbed(events)
    at = 0
    while True:
        at += 1
        client, storage = FakeClient(), MemoryStorage(events)
        client.around = storage.around = Killer(at, after)
        whole = told(client, storage)
        client.around = storage.around = lambda name, call: call()
        assert told(client, storage)
        assert client.content() == expected, f"killed at write {at}"
        if whole:
            break
    assert at > 1.5 * len(events)


def test_a_call_that_fails_at_any_point_is_made_again() -> None:
    """Also where it was carried out and only the answer was lost."""
    expected = undisturbed(STORY)
    for at in range(1, 65):
        client, storage = FakeClient(), MemoryStorage(STORY)
        raises = Killer(at, after=bool(at % 2))

        def around(name: str, call: Callable[[], Any], raises: Killer = raises) -> Any:
            try:
                return raises(name, call)
            except LeaseLost:
                raise ConnectionError("gone") from None

        client.around = around
        assert told(client, storage)
        assert client.content() == expected, f"failed at call {at}"


@pytest.mark.parametrize("kept", range(1, len(STORY)))
def test_a_log_that_was_cut_behind_the_cursor_is_told_as_it_is_now(kept: int) -> None:
    client, storage = FakeClient(), MemoryStorage(STORY)
    told(client, storage)
    untouched = {
        run_id for run_id, run in client.runs.items() if int(run.data.tags["omsweep.event"].split("-")[0]) <= kept
    }
    again = [event._replace(time=event.time + 1000, epoch=2) for event in STORY[kept:]]
    now = [*STORY[:kept], *again]
    storage.show(now)
    assert told(client, storage)
    assert client.content() == undisturbed(now)
    assert untouched <= set(client.active())


@pytest.mark.parametrize("at", range(1, 50, 4))
def test_a_log_that_was_cut_after_a_kill_is_told_as_it_is_now(at: int) -> None:
    for kept in range(1, len(STORY), 3):
        client, storage = FakeClient(), MemoryStorage(STORY[:8])
        told(client, storage)
        storage.show(STORY)
        client.around = storage.around = Killer(at, after=True)
        told(client, storage)
        client.around = storage.around = lambda name, call: call()
        now = [*STORY[:kept], *(event._replace(time=event.time + 1000, epoch=2) for event in STORY[kept:])]
        storage.show(now)
        assert told(client, storage)
        assert client.content() == undisturbed(now), f"cut to {kept}"


def test_losses_that_a_power_cut_took_cost_only_their_trials_run() -> None:
    begun = (created(), proposed("a"), proposed("b"), started("a"), started("b"), progress("a", 1, 0.9))
    client, storage = FakeClient(), MemoryStorage(numbered(*begun, progress("b", 1, 0.8), progress("b", 2, 0.7)))
    told(client, storage)
    before = {run.info.run_name: run_id for run_id, run in client.active().items()}
    now = [*numbered(*begun, progress("b", 1, 0.8))]
    storage.show(now)
    assert told(client, storage)
    assert client.content() == undisturbed(now)
    after = {run.info.run_name: run_id for run_id, run in client.active().items()}
    assert {name for name, run_id in before.items() if after[name] != run_id} == {"b"}


def test_a_run_that_comes_into_being_late_does_not_stay(client: FakeClient) -> None:
    late: list[Callable[[], Any]] = []

    def slow(name: str, call: Callable[[], Any]) -> Any:
        if name == "create_run" and len(late) < 2:
            late.append(call)
            raise TimeoutError
        return call()

    client.around = slow
    storage = MemoryStorage(STORY[:-1])
    told(client, storage)
    assert len(late) == 2
    for call in late:
        call()
    storage.show(STORY)
    assert told(client, storage)
    assert client.content() == undisturbed(STORY)


def test_an_outage_delays_and_is_told_once(client: FakeClient) -> None:
    said: list[str] = []
    storage = MemoryStorage(STORY[:8])
    with following(client, storage, said) as sink:
        assert sink.flush()

        def away(name: str, call: Callable[[], Any]) -> Any:
            raise SECRET_ERROR

        client.around = away
        storage.show(STORY[:20])
        calls = len(client.calls)
        until(lambda: len(client.calls) > calls + 2)
        assert not sink.flush(timeout=0.05)
        client.around = lambda name, call: call()
        storage.show(STORY)
        assert sink.flush()
    assert client.content() == undisturbed(STORY)
    gone, back = said
    assert f"MLflow at http://mlflow/{id(client)} cannot be written (losses): xxx" in gone
    assert "the sweep goes on, its results are safe in /results/s" in gone
    assert "hunter2" not in gone
    assert "again" in back


def test_what_a_store_that_stays_away_lacks_is_counted_and_how_it_is_written_later(client: FakeClient) -> None:
    said: list[str] = []
    storage = MemoryStorage(STORY)

    def away(name: str, call: Callable[[], Any]) -> Any:
        raise ConnectionError("refused")

    client.around = away
    sink = sink_of(client, storage, said)
    sink.start()
    assert not sink.flush(timeout=0.05)
    assert not sink.stop()
    assert len(said) == 2
    assert "4 x results of trials" in said[1]
    assert "6 x losses" in said[1]
    assert "`omsweep report s --storage /results --sync` writes it later" in said[1]
    client.around = lambda name, call: call()
    assert told(client, storage)
    assert client.content() == undisturbed(STORY)


@pytest.mark.parametrize("refusal", [MlflowException("bad value", INVALID_PARAMETER_VALUE), AssertionError("ours")])
def test_a_refused_write_holds_up_no_other_and_is_tried_by_the_next_sink(
    client: FakeClient, refusal: Exception
) -> None:
    said: list[str] = []
    storage = MemoryStorage(STORY)

    def refuse(name: str, call: Callable[[], Any]) -> Any:
        if name == "set_terminated":
            raise refusal
        return call()

    client.around = refuse
    assert not told(client, storage, said)
    assert len(said) == 2
    assert "refused results of trials" in said[0]
    assert "4 x results of trials" in said[1]
    assert {run["status"] for run in client.content().values()} == {"RUNNING"}
    client.around = lambda name, call: call()
    assert told(client, storage)
    assert client.content() == undisturbed(STORY)


def test_an_event_that_cannot_be_shown_is_refused_and_passed_over(client: FakeClient) -> None:
    said: list[str] = []
    log = numbered(created(), proposed("a"), started("a"), ended("a", kl="no number"), progress("a", 1, 0.5))
    assert not told(client, MemoryStorage(log), said)
    assert "refused results of trials" in said[0]
    assert client.content()["a"]["points"]


def test_losses_that_are_refused_hold_up_nothing(client: FakeClient) -> None:
    """Also where what has nothing to tell comes first."""
    said: list[str] = []
    tracked = ("tracked", "a", {"run_id": "run1"})
    log = numbered(created(), proposed("a"), started("a"), tracked, progress("a", 1, 0.5), ended("a"))

    storage = MemoryStorage(log[:3])
    assert told(client, storage)
    storage.show(log)
    calls = len(client.calls)

    def refuse(name: str, call: Callable[[], Any]) -> Any:
        assert name != "log_batch" or "log_batch" in client.calls[calls:-1]
        return call()

    client.around = refuse
    assert not told(client, storage, said)
    assert "refused losses" in said[0]
    assert "not written to MLflow" in said[1]
    assert "1 x losses;" in said[1]
    assert client.content()["a"]["status"] == "FINISHED"


def test_a_trial_that_trains_shows_its_losses(client: FakeClient) -> None:
    storage = MemoryStorage(STORY[:9])
    with following(client, storage, []):
        until(lambda: client.content().get("t1", {}).get("points"))
        storage.show(STORY[:11])
        until(lambda: len(client.content()["t1"]["points"]) == 3)


def test_many_losses_need_few_calls(client: FakeClient) -> None:
    trials = [f"t{n}" for n in range(10)]
    begun = [event for trial in trials for event in (proposed(trial, steps=200), started(trial))]
    losses = [progress(trial, step, 0.5) for step in range(1, 201) for trial in trials]
    storage = MemoryStorage(numbered(created(), *begun))
    told(client, storage)
    calls = len(client.calls)
    storage.show(numbered(created(), *begun, *losses))
    told(client, storage)
    assert len(client.calls) - calls < 50
    assert sum(len(run["points"]) for run in client.content().values()) == 2000


@pytest.mark.parametrize("batch", [1, 7, 1200])
def test_a_long_curve_is_thinned_the_same_however_it_comes(client: FakeClient, batch: int) -> None:
    losses = [progress("a", first, *([0.5] * min(batch, 1201 - first))) for first in range(1, 1201, batch)]
    told(client, MemoryStorage(numbered(created(), proposed("a", steps=1200), started("a"), *losses)))
    assert {step for _, _, step, _ in client.content()["a"]["points"]} == set(range(1, 1201, 3))


def test_a_log_that_is_not_there_yet_is_waited_for(client: FakeClient) -> None:
    storage = MemoryStorage()
    with following(client, storage, []) as sink:
        time.sleep(0.03)
        storage.show(STORY)
        until(lambda: None in client.content())
        assert sink.flush()
