"""What a result was made with: versions of the libraries and the commit of this source."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

# everything a policy or a score depends on
LIBRARIES = (
    *("omsweep", "ray", "torch", "transformers", "trl", "accelerate"),
    *("datasets", "lm_eval", "mlflow", "optuna", "numpy"),
)


def versions() -> dict[str, str | None]:
    """Versions of Python, the platform and `LIBRARIES`, importing none; None for one not installed."""
    found: dict[str, str | None] = {"python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def revision() -> dict[str, str | bool | None]:
    """`git_revision`, the commit this source is tracked at; `git_modified`, whether tracked files differ.

    Both are None outside a checkout; a package installed below some other project's repository is outside.
    """
    here = Path(__file__).resolve()
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return {"git_revision": None, "git_modified": None}
    changes = _git(here.parent, "status", "--porcelain", "--untracked-files=no")
    return {
        "git_revision": _git(here.parent, "rev-parse", "HEAD"),
        "git_modified": None if changes is None else bool(changes),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, stripped; None when git is missing, refuses or takes more than 20 s."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
