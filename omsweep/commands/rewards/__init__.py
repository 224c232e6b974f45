"""Rewards of a sweep that has run."""
