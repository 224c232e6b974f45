"""Comparing arms over repeated runs: intervals, variance components, verdicts, the headline; see docs/statistics.md."""
