"""`omsweep report --sync`: MLflow is told what is missing there, by somebody who holds the sweep's lease."""

import pytest

from omsweep.cli import BAD_USAGE, main
from omsweep.store.lease import Lease
from tests.sinks.fake_mlflow import FakeClient


@pytest.fixture
def clients(monkeypatch):
    """By tracking URI that was connected to."""
    known = {}
    monkeypatch.setattr(
        "omsweep.sinks.mlflow._connected", lambda uri, experiment: (known.setdefault(uri, FakeClient()), experiment)
    )
    return known


def sync(folder, *options):
    return main(["report", folder.name, "--storage", str(folder.storage), "--sync", *options])


def test_a_sweep_whose_driver_died_is_told_and_closed(demo, clients, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sync(demo, "--tracking-uri", "sqlite:///elsewhere.db") == 0
    (client,) = clients.values()
    content, state = client.content(), demo.state()
    assert content.keys() == {None, *state.trials}
    assert set(client.runs) == {state.run_id, *(one.run_id for one in state.trials.values())}
    assert (content[None]["status"], content[None]["tags"]["state"], state.closed) == (
        "KILLED",
        "interrupted",
        "interrupted",
    )
    monkeypatch.chdir(demo.storage)
    calls = len(client.calls)
    assert sync(demo) == 0
    assert list(clients) == [f"sqlite:///{tmp_path}/elsewhere.db"]  # that the sweep has used
    assert client.calls[calls:] == ["get_run"]  # nothing is new
    assert "warning" not in capsys.readouterr().err


def test_what_the_store_refuses_is_a_failure(demo, clients, capsys):
    def refuse(name, call):
        assert name != "set_terminated"
        return call()

    clients[f"sqlite:///{demo.storage}/mlflow.db"] = client = FakeClient()
    client.around = refuse
    assert sync(demo) == 1
    assert "not written to MLflow" in capsys.readouterr().err


def test_a_sweep_that_is_run_is_left_to_its_driver(demo, capsys, monkeypatch):
    monkeypatch.setattr("omsweep.store.lease.BEAT_SECONDS", 0.05)
    monkeypatch.setattr("omsweep.store.lease.LOOK_SECONDS", 0.1)
    lease = Lease.take(demo.files)
    try:
        assert sync(demo) == BAD_USAGE
    finally:
        lease.release()
    assert "sweep demo writes to MLflow itself: another driver runs this sweep" in capsys.readouterr().err


def test_a_sweep_from_before_the_log_has_nothing_to_tell(demo, capsys):
    demo.write_derived(demo.state())
    demo.events_jsonl.unlink()
    assert sync(demo) == BAD_USAGE
    assert "--sync needs a sweep with a log" in capsys.readouterr().err
