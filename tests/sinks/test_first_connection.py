"""Whether a tracking store can be used is known in seconds, and a database lies where its path says."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow.store.db.utils import create_sqlalchemy_engine_with_retry

from omsweep.sinks import first_connection
from omsweep.sinks.first_connection import absolute, artifact_location, connected, sqlite_uri


def never() -> Any:
    return pytest.fail("MLflow was asked")


@pytest.mark.parametrize("name", ["runs", "team%20a", "what?v=2", "a#b", "a b", "día", "50%", "%(here)s"])
def test_a_database_lies_where_its_path_says_and_nothing_beside_it(tmp_path: Path, name: str) -> None:
    uri = sqlite_uri(tmp_path / name / "mlflow.db")
    engine = connected(uri, lambda: create_sqlalchemy_engine_with_retry(uri))
    assert engine.url.database == str(tmp_path / name / "mlflow.db")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert absolute(uri) == uri
    assert artifact_location(uri, "demo") == (tmp_path / name / "mlartifacts" / "demo").as_uri()


def test_options_of_a_database_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite:///m.db?timeout=30") == f"sqlite:///{tmp_path}/m.db?timeout=30"


@pytest.mark.parametrize("name", ["team%20a", "what?v=2"])
def test_a_path_written_as_a_uri_is_refused_with_the_uri_that_is_meant(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="in the URI of a file % is written %25 and [?] %3F") as refusal:
        absolute(f"sqlite:///{tmp_path}/{name}/mlflow.db")
    assert str(refusal.value).endswith(sqlite_uri(tmp_path / name / "mlflow.db"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("sqlite:///{}/text.db", "file is not a database"), ("postgresql://me:hun/ter2@127.0.0.1:1/db", "")],
    ids=["no database", "no server, or no driver"],
)
def test_what_mlflow_would_try_again_for_an_hour_is_refused_at_once(tmp_path: Path, uri: str, reason: str) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    begun = time.monotonic()
    with pytest.raises(ValueError, match=f"cannot be used: .*{reason}") as refusal:
        connected(uri.format(tmp_path), never)
    assert time.monotonic() - begun < 10
    assert "ter2" not in str(refusal.value)


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_connection, "ANSWER_SECONDS", 0.2)
    ended = threading.Event()
    with pytest.raises(ValueError, match=r"http://host:5000 cannot be used: no answer within 0 s"):
        connected("http://host:5000", ended.wait)
    ended.set()
    for thread in threading.enumerate():  # else it has the loggers of later tests quiet
        if thread.name == "deadline":
            thread.join()


def test_a_long_answer_is_cut() -> None:
    def refuse() -> None:
        raise RuntimeError("<html>" + "\n<p>no</p>" * 1000)

    with pytest.raises(ValueError, match="cannot be used: <html> <p>no</p>") as refusal:
        connected("http://host:5000", refuse)
    assert len(str(refusal.value)) < 400
