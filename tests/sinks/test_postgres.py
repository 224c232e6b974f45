"""An MLflow server on PostgreSQL is away for a minute and the driver is killed: nothing is lost, nothing doubled."""

import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omsweep.sinks.mlflow import MlflowSink
from omsweep.store.log import LogReader, SweepLog, read_state
from omsweep.store.storage import FolderStorage
from tests.mlflow_server import free_port, server
from tests.postgres import postgres
from tests.sinks.story import ended

TRIALS, STEPS, STEPS_AT_A_TIME = 20, 500, 5
LOSSES_BEFORE, ROUND_SECONDS, AWAY_SECONDS = 1000, 1.0, 60.0

pytestmark = pytest.mark.campaign


@pytest.fixture
def database() -> Iterator[str]:
    with postgres() as uri:
        yield uri


def drive(folder: Path, uri: str) -> None:
    """A driver that begins a sweep or goes on with it, without training anything."""
    log = SweepLog.open(FolderStorage(folder), say=print)
    sink = MlflowSink(log.storage, uri, "outage", folder, say, log, required=not log.state.created)
    if not log.state.created:
        log.append("created", name="outage", sweep_id="5eed", resolved={"mode": "compare"}, versions={})
        for trial_id in map("t{:02}".format, range(TRIALS)):
            log.append("proposed", trial_id=trial_id, trial={"family": "f", "train": {"steps": STEPS}})
    log.append("driver")
    sink.start()
    trials = [trial for trial in log.state.trials.values() if trial.outcome is None]
    for trial in trials:
        log.append("started", trial_id=trial.trial_id, attempt=trial.attempt + 1)
    for first in range(min(trial.steps for trial in trials) + 1, STEPS + 1, STEPS_AT_A_TIME):
        for trial in trials:
            losses = [1 / (first + step) for step in range(STEPS_AT_A_TIME)]
            log.append("progress", trial_id=trial.trial_id, sync=False, first_step=first, losses=losses)
        time.sleep(ROUND_SECONDS)
    for trial in trials:
        log.append("ended", trial_id=trial.trial_id, outcome=ended("")[2]["outcome"])
    log.append("driver", closed="completed")
    begun = time.monotonic()
    assert sink.flush(timeout=120)
    say(f"flushed in {time.monotonic() - begun:.1f} s")
    assert sink.stop()
    log.close()


def say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def started(*of: Any) -> Any:
    process = multiprocessing.get_context("fork").Process(target=drive, args=of)
    process.start()
    return process


def rows(database: str, query: str) -> list[Any]:
    import psycopg2

    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_a_minute_without_the_server_and_a_killed_driver_lose_and_double_nothing(database: str, tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "outage"
    folder.mkdir()
    uri, backend = f"http://127.0.0.1:{port}", database.replace("://", "+psycopg2://")
    with server(backend, port, tmp_path):
        driver = started(folder, uri)
        deadline = time.monotonic() + 120
        while rows(database, "select count(*) from metrics")[0][0] < LOSSES_BEFORE:
            assert driver.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.5)
    say("the server is gone")
    before = rows(database, "select run_uuid from runs where lifecycle_stage = 'active'")
    time.sleep(AWAY_SECONDS / 2)
    driver.kill()
    driver.join()
    say("the driver is gone")
    driver = started(folder, uri)
    time.sleep(AWAY_SECONDS / 2)
    with server(backend, port, tmp_path):
        say("the server is back")
        driver.join(timeout=300)
    assert driver.exitcode == 0

    events = LogReader(FolderStorage(folder)).new()
    runs = dict(rows(database, "select name, run_uuid from runs where lifecycle_stage = 'active'"))
    assert len(runs) == TRIALS + 1
    assert {run_id for (run_id,) in before} <= set(runs.values())
    state = read_state(FolderStorage(folder))
    assert runs == {"outage": state.run_id, **{one.trial_id: one.run_id for one in state.trials.values()}}
    expected = Counter(
        (runs[event.trial_id], round(1000 * event.time), event.data["first_step"] + n, loss)
        for event in events
        if event.kind == "progress"
        for n, loss in enumerate(event.data["losses"])
    )
    written = Counter(rows(database, "select run_uuid, timestamp, step, value from metrics where key = 'loss'"))
    say(f"{written.total()} losses in MLflow, {expected.total()} in the log; {len(before)} runs before the outage")
    assert written.total() >= TRIALS * STEPS
    assert written == expected
    assert {status for (status,) in rows(database, "select status from runs")} == {"FINISHED"}
