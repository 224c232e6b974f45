"""What each verb of the command line does, one file a verb: `execute(options)` returns the exit code."""

import os

DONE, FAILED = 0, 1
DEFAULT_STORAGE = "runs"


def dashboard_address(given: str | None) -> str | None:
    """Address of the cluster's dashboard, as it was given or as the environment has it; None of no cluster."""
    return given or os.environ.get("RAY_API_SERVER_ADDRESS") or None
