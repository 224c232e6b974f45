"""A PostgreSQL server of a test's own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mlflow_server import free_port


@contextmanager
def postgres() -> Iterator[str]:
    """The URI of a new PostgreSQL database; it runs as the user `postgres` where the tests run as root."""
    pytest.importorskip("psycopg2", reason="needs psycopg2 (pip install psycopg2-binary)")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("needs PostgreSQL (Debian's package postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="omsweep-postgres-"))
    user = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        user = ["runuser", "-u", "postgres", "--"]
    run = [*user, str(programs[-1].with_name("pg_ctl")), "-D", f"{folder}/data", "-w", "-s"]
    port = free_port()
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
    try:
        subprocess.run([*user, str(programs[-1]), "-D", f"{folder}/data", "-U", "me", "-A", "trust"], **quiet)
        subprocess.run([*run, "-o", f"-p {port} -k {folder} -h 127.0.0.1", "-l", f"{folder}/log", "start"], **quiet)
        yield f"postgresql://me@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*run, "-m", "immediate", "stop"], **quiet | {"check": False})
        shutil.rmtree(folder, ignore_errors=True)
