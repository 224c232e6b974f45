"""What is asked of a dashboard, against a small server that answers as Ray's does."""

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from omsweep.cluster import dashboard
from omsweep.cluster.dashboard import connect, connected, job_of, stop
from tests.cluster.stand_in import details

NODE = "node_" + 28 * "0a"


class Head:
    """Answers on loopback: by path a JSON document, or 401 where a token is asked for and none was sent."""

    def __init__(self) -> None:
        self.token: str | None = None
        self.delay = 0.0
        self.stops: list[str] = []
        self.answers: dict[str, Any] = {"/api/version": {"ray_version": "2.60.0", "version": "4"}, "/api/jobs/": []}
        answering = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                time.sleep(answering.delay)
                allowed = answering.token in (None, self.headers.get("Authorization"))
                found = answering.answers.get(self.path) if allowed else None
                self.send_response(401 if not allowed else 404 if found is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def do_POST(self) -> None:
                answering.stops.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"stopped": true}')

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def runs(self, *jobs: tuple[str, str, str, int]) -> None:
        """Have jobs of an id, a sweep, a status and a start in ms; the first two are also asked for one by one."""
        found = [details(job, sweep, status, start_time=start) for job, sweep, status, start in jobs]
        rows = [json.loads(one.model_dump_json()) for one in found]
        foreign = {"type": "DRIVER", "job_id": "01", "status": "RUNNING", "entrypoint": "", "metadata": {}}
        self.answers["/api/jobs/"] = [*rows, foreign]
        self.answers |= {f"/api/jobs/{row['submission_id']}": row for row in rows}


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv(dashboard.ADDRESS_VARIABLE, raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    started = Head()
    yield started
    started.server.shutdown()
    started.server.server_close()


def test_a_cluster_that_asks_for_no_token_is_warned_of(head: Head) -> None:
    (warning,) = connect(head.url).warnings()
    assert warning.startswith(f"{head.url} answers without a token: whoever reaches it runs code")


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("http://10.0.0.7:8265", True),
        ("http://head.example:8265", True),
        ("http://127.0.0.1:8265", False),
        ("http://[::1]:8265", False),
        ("http://localhost:8265", False),
        ("https://head.example", False),
    ],
)
def test_a_token_in_the_clear_is_warned_of(
    head: Head, address: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(head.url)
    monkeypatch.setattr(client, "get_address", lambda: address)
    monkeypatch.setattr(dashboard.requests, "get", lambda *_, **__: SimpleNamespace(ok=False))
    monkeypatch.setattr(client, "_headers", {})
    assert client.warnings() == []
    monkeypatch.setattr(client, "_headers", {"authorization": "Bearer 1"})
    assert [text.startswith(f"the token goes to {address} in the clear") for text in client.warnings()] == [
        True
    ] * warned


def test_nodes_that_are_up_are_told(head: Head) -> None:
    up, down = {"CPU": 2.0, "memory": 1e9}, {"CPU": 64.0}
    rows = [{"state": "ALIVE", "resources_total": up}, {"state": "DEAD", "resources_total": down}]
    client = connect(head.url)
    assert client.nodes() is None
    head.answers["/api/v0/nodes?limit=10000"] = {"data": {"result": {"result": rows}}}
    assert client.nodes() == [up]


@pytest.mark.parametrize(
    ("status", "grows"),
    [
        (None, True),
        ({}, True),
        ({"autoscalerReport": {"activeNodes": {NODE: 1}}}, False),
        ({"autoscalerReport": {"activeNodes": {NODE.replace("_", ""): 1}}}, False),
        ({"autoscalerReport": {"activeNodes": {"ray.head.default": 1, "gpu": 2}}}, True),
    ],
)
def test_only_where_nothing_adds_nodes_a_cluster_stays_as_it_is(head: Head, status: Any, grows: bool) -> None:
    head.answers["/api/cluster_status"] = {"data": {"clusterStatus": status}}
    assert connect(head.url).may_grow() is grows


def test_jobs_are_found_by_their_sweep(head: Head) -> None:
    head.runs(("a", "first", "RUNNING", 1), ("b", "first", "FAILED", 2), ("c", "second", "STOPPED", 3))
    client = connect(head.url)
    assert [job.job_id for job in client.jobs()] == ["c", "b", "a"]
    assert [job.job_id for job in client.jobs("first")] == ["b", "a"]
    assert job_of(client, "first").job_id == "a", "the one that runs, not the newest"
    assert job_of(client, "second").how == "stopped"
    with pytest.raises(ValueError, match="runs a sweep third: there are jobs of second, first"):
        job_of(client, "third")
    head.runs()
    with pytest.raises(ValueError, match="there is no job of a sweep"):
        job_of(client, "third")


def test_a_job_that_is_stopped_is_waited_for(head: Head) -> None:
    head.runs(("a", "first", "RUNNING", 1))
    pauses = []

    def end(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            head.runs(("a", "first", "STOPPED", 1))

    assert stop(connect(head.url), "a", patience=60, sleep=end) == "STOPPED"
    assert (head.stops, len(pauses)) == (["/api/jobs/a/stop"], 3)
    head.runs(("a", "first", "RUNNING", 1))
    assert stop(connect(head.url), "a", patience=0, sleep=end) == "RUNNING"


def test_a_request_that_is_not_answered_ends(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(head.url)
    monkeypatch.setattr(dashboard, "ANSWER_SECONDS", 0.1)
    head.delay = 1.0
    with pytest.raises(dashboard.ClusterErrors):
        client.list_jobs()


def test_a_cluster_that_cannot_be_asked_is_one_line(head: Head) -> None:
    with (
        pytest.raises(ValueError, match="dashboard cannot be used: Failed to connect to Ray at address"),
        connected("127.0.0.1:1"),
    ):
        pass
    head.token = "Bearer 1"
    with (
        pytest.raises(ValueError, match="dashboard cannot be used: Authentication required") as error,
        connected(head.url),
    ):
        pass
    assert "\n" not in str(error.value)


def test_an_address_that_holds_a_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="--address must not hold") as error:
        connect("http://me:hunter2@host")
    assert "hunter2" not in str(error.value)


def test_a_typed_address_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(self: Any, method: str, endpoint: str, **options: Any) -> None:
        asked.append(self.get_address() + endpoint)
        raise ConnectionError("stop here")

    monkeypatch.setattr(dashboard.JobSubmissionClient, "_do_request", refuse)
    monkeypatch.setenv(dashboard.ADDRESS_VARIABLE, "http://elsewhere:1")
    for address in ("http://head:8265", "head:8265"):
        with pytest.raises(ConnectionError):
            connect(address)
    assert set(asked) == {"http://head:8265/api/version"}
    assert os.environ[dashboard.ADDRESS_VARIABLE] == "http://elsewhere:1"
    asked.clear()
    with pytest.raises(ConnectionError):
        connect(None)
    assert asked == ["http://elsewhere:1/api/version"]
