"""`omsweep report` on sweeps in any condition; with `--sync` MLflow is told too, by who holds the sweep's lease."""

import json
import re

import pytest

from omsweep.cli import BAD_USAGE, main
from omsweep.store.lease import Lease, Owner
from tests.sinks.fake_mlflow import FakeClient


@pytest.fixture
def clients(monkeypatch):
    """By tracking URI that was connected to."""
    known = {}
    monkeypatch.setattr(
        "omsweep.sinks.mlflow.opened", lambda uri, experiment: (known.setdefault(uri, FakeClient()), experiment)
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


def report(folder):
    return main(["report", folder.name, "--storage", str(folder.storage)])


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.path.iterdir() if file.is_file()}


@pytest.fixture
def rescored(demo):
    """The demo with one member of a front scored on the report split, and reported."""
    demo.rescored(demo.state().fronts["tiny-llama"][0].trial_id, reward=0.123, tax=4.5)
    assert report(demo) == 0
    return demo


@pytest.mark.parametrize("damage", ["gone", "broken"])
def test_what_is_made_from_the_log_is_made_again(rescored, damage):
    before = contents(rescored)
    for name in ("front.json", "trials.jsonl", "sweep.json", "references.json", "report.html"):
        file = rescored.path / name
        file.unlink() if damage == "gone" else file.write_text("[1")
    assert report(rescored) == 0
    after = contents(rescored)
    html, was = (re.sub(rb"[0-9a-f-]{36}", b"", one.pop("report.html")) for one in (after, before))  # plotly's ids
    assert (after, html) == (before, was)
    assert b"0.123" in after["front.json"]


def test_a_damaged_log_is_named_and_nothing_is_written(rescored, capsys):
    text = rescored.events_jsonl.read_bytes()
    rescored.events_jsonl.write_bytes(text.replace(b"tiny-qwen2-b1", b"tiny-qwen3-b1", 1))
    before = contents(rescored)
    assert report(rescored) == BAD_USAGE
    assert re.search(r"the log is damaged: line \d+: no event, or not as it was written", capsys.readouterr().err)
    assert contents(rescored) == before


def test_beside_a_driver_that_writes(demo, capsys):
    demo.write_derived(demo.state())
    lease = Lease.take(demo.files, owner=Owner(host="far", machine="far", pid=3, start=1))
    try:
        with demo.events_jsonl.open("ab") as log:
            log.write(b'{"v":1,"seq":99,"epo')  # an event that is being written
        assert report(demo) == 0
    finally:
        lease.release()
    assert "demo: running, by process 3 on far" in capsys.readouterr().out
    assert "Running when this was written: 20 of 20 trials have ended." in demo.report_html.read_text()
    assert len(demo.trials_jsonl.read_text().splitlines()) == 20
    assert demo.events_jsonl.read_bytes().endswith(b'"epo')


def test_a_former_sweep_keeps_its_files_and_its_scores_on_the_report_split(rescored, capsys):
    rescored.events_jsonl.unlink()
    with rescored.trials_jsonl.open("a") as file:
        file.write('{"trial_id": "torn')
    before = contents(rescored)
    with pytest.warns(UserWarning, match="torn line skipped"):
        assert report(rescored) == 0
    after = contents(rescored)
    for name in ("trials.jsonl", "sweep.json", "references.json"):
        assert after[name] == before[name], name
    assert json.loads(after["front.json"]) == json.loads(before["front.json"])
    assert b"0.123" in after["front.json"]
    assert "demo: from before omsweep kept a log" in capsys.readouterr().out


def test_a_former_sweep_with_a_broken_front(rescored):
    rescored.events_jsonl.unlink()
    rescored.front_json.write_text("{")
    with pytest.warns(UserWarning, match="scores on the report split are missing"):
        assert report(rescored) == 0
    assert json.loads(rescored.front_json.read_text())["members"]
