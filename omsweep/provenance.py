"""What a result was made with: versions of the libraries and the commit of this source."""

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from omsweep import __version__

# everything a policy or a score depends on
LIBRARIES = (
    *("ray", "torch", "transformers", "trl", "accelerate"),
    *("datasets", "lm_eval", "mlflow", "optuna", "numpy"),
)
REVISION, MODIFIED = "OMSWEEP_REVISION", "OMSWEEP_MODIFIED"
"""Environment of a job that runs a copy of a checkout: its commit, and 1 or 0 for whether tracked files differ."""


@cache
def versions() -> Mapping[str, str | None]:
    """Versions of omsweep, Python, the platform and `LIBRARIES`, importing none; None for one not installed."""
    found: dict[str, str | None] = {
        "omsweep": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def revision() -> dict[str, str | bool | None]:
    """`git_revision`, the commit this source is tracked at; `git_modified`, whether tracked files differ.

    Outside a checkout they are what the environment says (`in_environment`), else None; a package installed below some
    other project's repository is outside.
    """
    here = Path(__file__).resolve()
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        modified = {"1": True, "0": False}.get(os.environ.get(MODIFIED, ""))
        return {"git_revision": os.environ.get(REVISION) or None, "git_modified": modified}
    changes = _git(here.parent, "status", "--porcelain", "--untracked-files=no")
    return {
        "git_revision": _git(here.parent, "rev-parse", "HEAD"),
        "git_modified": None if changes is None else bool(changes),
    }


def in_environment() -> dict[str, str]:
    """What tells a copy of this source, which is no checkout, its `revision`."""
    found = revision()
    if found["git_revision"] is None:
        return {}
    modified = found["git_modified"]
    told = {} if modified is None else {MODIFIED: str(int(bool(modified)))}
    return {REVISION: str(found["git_revision"]), **told}


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """`torch 2.9.0 there and 2.10.0 here` for each version that differs; what one of them lacks, and the platform, does
    not count."""
    return [
        f"{name} {there[name]} there and {version} here"
        for name, version in here.items()
        if name != "platform" and name in there and there[name] != version
    ]


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, stripped; None when git is missing, refuses or takes more than 20 s."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
