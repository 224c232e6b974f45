"""The first connection to a tracking store makes a database's tables: one process at a time, and again if need be."""

import hashlib
import logging
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from filelock import FileLock

from omsweep.quiet import quiet_loggers, without_warnings
from omsweep.redaction import redacted

ATTEMPTS, PAUSE_SECONDS = 3, 1.0
LOCK_SECONDS = 120.0
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Schemes of stores in which MLflow makes the tables itself, where it is no server that does."""
Connection = TypeVar("Connection")


def connected(tracking_uri: str, connect: Callable[[], Connection]) -> Connection:
    """What `connect` returns.

    Two processes that make the tables of one store at once fail: on a machine they wait for each other, and where
    others do so from elsewhere it is tried again.

    Raises:
        ValueError: the store cannot be used; the message names it, without the password its address may hold.
    """
    try:
        database = _database_file(tracking_uri)
        if database is not None:  # refuse at once what MLflow would retry for a minute
            database.parent.mkdir(parents=True, exist_ok=True)
            database.open("ab").close()
        with _alone(tracking_uri):
            return _tried(connect, ATTEMPTS if tracking_uri.startswith(DATABASES) else 1)
    except Exception as refusal:
        raise ValueError(redacted(f"tracking URI {tracking_uri} cannot be used: {refusal}")) from None


def database_uri(file: Path) -> str:
    """The tracking URI of a SQLite file, whatever its path holds.

    SQLAlchemy takes a path up to `?` and with `%` escapes. Where a URI names the driver, MLflow makes no folder itself,
    which it would name as the path is written.
    """
    path = str(file).replace("%", "%25").replace("?", "%3F")
    return f"sqlite{'' if path == str(file) else '+pysqlite'}:///{path}"


def absolute(tracking_uri: str) -> str:
    """The same store for a process that works in another folder."""
    database, (_, mark, query) = _database_file(tracking_uri), tracking_uri.partition("?")
    return tracking_uri if database is None else f"{database_uri(database)}{mark}{query}"


def artifact_location(tracking_uri: str, experiment: str) -> str | None:
    """Beside a sqlite database; None where the store decides."""
    database = _database_file(tracking_uri)
    return None if database is None else (database.parent / "mlartifacts" / experiment).as_uri()


def _tried(connect: Callable[[], Connection], attempts: int) -> Connection:
    begun = time.monotonic()
    while True:
        try:
            with (  # without the some sixty lines that a new database's migrations log
                quiet_loggers("alembic", "mlflow.store.db.utils", level=logging.WARNING),
                without_warnings(DeprecationWarning),
            ):
                return connect()
        except ValueError:
            raise
        except Exception:
            attempts -= 1
            if attempts < 1 or time.monotonic() - begun > ATTEMPTS * PAUSE_SECONDS:
                raise
            time.sleep(PAUSE_SECONDS)


def _alone(tracking_uri: str) -> AbstractContextManager[Any]:
    """What only one process of this machine holds at a time; a server makes its tables itself."""
    database = _database_file(tracking_uri)
    if database is not None:
        return FileLock(database.with_name(f".{database.name}.lock"), timeout=LOCK_SECONDS, mode=0o666)
    if not tracking_uri.startswith(DATABASES):
        return nullcontext()
    name = hashlib.sha256(tracking_uri.encode()).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir()) / f"omsweep-mlflow-{name}.lock", timeout=LOCK_SECONDS, mode=0o666)


def _database_file(tracking_uri: str) -> Path | None:
    found = re.fullmatch(r"sqlite(?:\+pysqlite)?:///([^?]+)(?:\?.*)?", tracking_uri)
    return None if found is None or found[1] == ":memory:" else Path(unquote(found[1])).absolute()
