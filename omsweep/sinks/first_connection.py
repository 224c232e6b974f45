"""The first connection to a tracking store makes a database's tables: one process at a time, and again if need be."""

import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from filelock import FileLock

from omsweep.deadline import within
from omsweep.quiet import quiet_loggers, without_warnings
from omsweep.redaction import redacted
from omsweep.store.storage import make_folder

ATTEMPTS, PAUSE_SECONDS = 3, 1.0
LOCK_SECONDS = 120.0
ANSWER_SECONDS = 30.0
"""In which a store must answer; making a database's tables may take `TABLES_SECONDS` after that."""
TABLES_SECONDS = LOCK_SECONDS + 60.0
LONGEST_REASON = 300
SQLITE = ("sqlite", "sqlite+pysqlite")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Schemes of stores in which MLflow makes the tables itself, where it is no server that does."""
CLOSED_FILE = 0o660
"""Mode of a SQLite file that is made, less the umask: its folder, which may be open to others, was there before."""
Connection = TypeVar("Connection")


def connected(tracking_uri: str, connect: Callable[[], Connection]) -> Connection:
    """What `connect` returns.

    Two processes that make the tables of one store at once fail: on a machine they wait for each other, and where
    others do so from elsewhere it is tried again. A store that does not answer is given up after `ANSWER_SECONDS`.

    Raises:
        ValueError: the store cannot be used; the message names it, without the password its address may hold.
    """
    try:
        if not tracking_uri.startswith(DATABASES):
            return within(ANSWER_SECONDS, lambda: _quietly(connect))
        within(ANSWER_SECONDS, lambda: _refuse_at_once(tracking_uri))
        return within(TABLES_SECONDS, lambda: _made(tracking_uri, connect))
    except Exception as refusal:
        said = re.split(r"\[SQL: |\(Background on this error", redacted(str(refusal)))[0]  # what SQLAlchemy adds
        reason = " ".join(said.split()) or type(refusal).__name__
        reason = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]} ..."
        raise ValueError(redacted(f"tracking URI {tracking_uri} cannot be used: {reason}")) from None


def absolute(tracking_uri: str) -> str:
    """The same store for a process that works in another folder; ValueError as `_database_file`."""
    database = _database_file(tracking_uri)
    _, mark, options = tracking_uri.partition("?")
    return tracking_uri if database is None else sqlite_uri(database) + mark + options


def sqlite_uri(database: Path) -> str:
    """The tracking URI of a SQLite file; what a URI reads otherwise than a path, `%` and `?`, is quoted.

    MLflow makes the folder of what stands behind `sqlite:///` without unquoting it, but not behind a driver's name.
    """
    quoted = str(database).replace("%", "%25").replace("?", "%3F")
    return f"{SQLITE[quoted != str(database)]}:///{quoted}"


def artifact_location(tracking_uri: str, experiment: str) -> str | None:
    """Beside a sqlite database; None where the store decides."""
    database = _database_file(tracking_uri)
    return None if database is None else (database.parent / "mlartifacts" / experiment).as_uri()


def _refuse_at_once(tracking_uri: str) -> None:
    """Raise what MLflow would try again for an hour: no server, no access, no such database, a file that is none."""
    from sqlalchemy import create_engine, inspect

    database = _database_file(tracking_uri)
    if database is not None:
        make_folder(database.parent)
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT, CLOSED_FILE))
    engine = create_engine(tracking_uri)
    try:
        inspect(engine).get_table_names()
    finally:
        engine.dispose()


def _made(tracking_uri: str, connect: Callable[[], Connection]) -> Connection:
    with _alone(tracking_uri):
        begun, attempts = time.monotonic(), ATTEMPTS
        while True:
            try:
                return _quietly(connect)
            except ValueError:
                raise
            except Exception:
                attempts -= 1
                if attempts < 1 or time.monotonic() - begun > ATTEMPTS * PAUSE_SECONDS:
                    raise
                time.sleep(PAUSE_SECONDS)


def _quietly(connect: Callable[[], Connection]) -> Connection:
    """Without the some sixty lines that a new database's migrations log."""
    with (
        quiet_loggers("alembic", "mlflow.store.db.utils", level=logging.WARNING),
        without_warnings(DeprecationWarning),
    ):
        return connect()


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
    """The file of a SQLite URI, None for any other; ValueError for a path that is written like a file's name."""
    scheme, _, rest = tracking_uri.partition(":///")
    path, _, options = rest.partition("?")
    if scheme not in SQLITE or path in ("", ":memory:"):
        return None
    literal, meant = Path(path).absolute(), Path(unquote(path)).absolute()
    unwritten = literal != meant and literal.parent.is_dir() and not meant.parent.is_dir()
    if "/" in options or unwritten:
        uri = sqlite_uri(Path(rest).absolute())
        raise ValueError(f"tracking URI {tracking_uri}: in the URI of a file % is written %25 and ? %3F, {uri}")
    return meant
