"""What each verb of the command line does, one file a verb: `execute(options)` returns the exit code."""

DONE, FAILED = 0, 1
DEFAULT_STORAGE = "runs"
