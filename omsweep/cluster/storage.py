"""Where a sweep's folder and its tracking store lie, and whether a Ray job may use such a place. Torch-free."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from omsweep.redaction import refuse_secrets
from omsweep.sinks.first_connection import absolute


def storage_folder(given: str | None, default: str) -> Path:
    """The absolute storage folder, whether there or not; in a Ray job only what `check_job_storage` accepts.

    Raises:
        ValueError: a relative path in a Ray job, or an object store.
    """
    if in_ray_job():
        check_job_storage(given)
    return storage_path(given, default)


def storage_path(given: str | None, default: str) -> Path:
    """The absolute storage folder, whether there or not; ValueError for an object store."""
    return Path(_local_path(given or default)).expanduser().absolute()


def in_ray_job() -> bool:
    """Whether this process is the entry point of a Ray job.

    Ray's job supervisor sets this variable (its name is also its Ray constant's) in the environment of the entry point
    and of nothing else: workers and a `ray.init()` outside jobs do not have it.
    """
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def check_job_storage(given: str | None) -> None:
    """Refuse a storage that does not outlive a Ray job: its working folder is thrown away when it ends.

    Raises:
        ValueError: anything but an absolute path or a `file://` URI without a host.
    """
    if given is None or not (given.startswith("/") or "://" in given):
        raise ValueError(
            "--storage must be an absolute path or a URI in a Ray job, where the working folder is thrown away;"
            f" got {given!r}"
        )
    _local_path(given)


def check_tracking(uri: str | None) -> None:
    """Refuse an MLflow tracking URI that holds a secret, which logs, lists of processes and jobs would show.

    Raises:
        ValueError: naming what to do instead, never the secret; a SQLite file whose path is not written as in a URI.
    """
    if uri is not None:
        refuse_secrets("--tracking-uri", uri)
        absolute(uri)


def check_job_tracking(uri: str | None) -> None:
    """Refuse an MLflow tracking URI that a Ray job cannot keep: a relative file, or one that holds a secret.

    Raises:
        ValueError: naming the URI (without its secret) and what is allowed.
    """
    check_tracking(uri)
    if uri is None:
        return
    scheme, _, rest = uri.partition("://")
    database = scheme.partition("+")[0] == "sqlite"
    local = not rest or scheme == "file" or database
    # file:///folder is absolute; SQLAlchemy writes the absolute sqlite:////folder/file with one slash more
    path = rest.removeprefix("/") if database else rest or uri
    if local and not path.startswith("/"):
        raise ValueError(
            "--tracking-uri must be absolute in a Ray job, where the working folder is thrown away, for example"
            f" sqlite:////shared/mlflow.db or http://host:5000; got {uri!r}"
        )


def _local_path(given: str) -> str:
    if "://" not in given:
        return given
    refuse_secrets("--storage", given)
    uri = urlsplit(given)
    if uri.scheme != "file" or uri.netloc not in ("", "localhost"):
        raise ValueError(
            "--storage must be a path or a file:// URI that all nodes share; mount an object store as a folder;"
            f" got {uri.scheme}://{uri.hostname or ''}{uri.path}"
        )
    if uri.query or uri.fragment:
        raise ValueError(f"--storage: in a file:// URI write ? as %3F and # as %23, got {given!r}")
    return unquote(uri.path)
