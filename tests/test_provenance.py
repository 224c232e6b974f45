"""The revision and versions that a result carries, also where its source is a copy without its repository."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omsweep import provenance


def in_a_copy(tmp_path: Path, environment: dict[str, str]) -> str:
    """What a copy of the package, as a Ray job has it, says of itself."""
    package = Path(provenance.__file__).parent
    (tmp_path / "omsweep").mkdir(exist_ok=True)
    for name in ("__init__.py", "provenance.py"):
        shutil.copy(package / name, tmp_path / "omsweep" / name)
    told = "from omsweep.provenance import revision, versions; print(revision(), versions()['omsweep'])"
    done = subprocess.run(
        [sys.executable, "-c", told],
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, "{'git_revision': None, 'git_modified': None} 0.1.0"),
        (
            {"OMSWEEP_REVISION": "abc", "OMSWEEP_MODIFIED": "1"},
            "{'git_revision': 'abc', 'git_modified': True} 0.1.0",
        ),
        ({"OMSWEEP_REVISION": "abc"}, "{'git_revision': 'abc', 'git_modified': None} 0.1.0"),
    ],
)
def test_a_copy_without_its_repository_is_told_by_the_environment(
    tmp_path: Path, environment: dict[str, str], found: str
) -> None:
    assert in_a_copy(tmp_path, environment) == found


def test_a_checkout_speaks_for_itself_and_tells_its_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMSWEEP_REVISION", "of another")
    found = provenance.revision()
    if found["git_revision"] is None or found["git_revision"] == "of another":
        pytest.skip("these tests do not run in a checkout")
    assert f"'git_revision': '{found['git_revision']}'" in in_a_copy(tmp_path, provenance.in_environment())
    assert provenance.in_environment()["OMSWEEP_MODIFIED"] == str(int(bool(found["git_modified"])))


def test_versions_that_differ_are_named_but_not_those_that_are_unknown() -> None:
    there = {"torch": "2.9", "numpy": "2.0", "platform": "a"}
    here = {"torch": "2.10", "numpy": "2.0", "platform": "b", "ray": "2.60"}
    assert provenance.differing(there, here) == ["torch 2.9 there and 2.10 here"]
