"""Embedded benchmark suites: lm-eval task files and their data."""
