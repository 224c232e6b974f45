"""Comparing arms over repeated runs: curves, contrasts, intervals, verdicts; see docs/statistics.md."""
