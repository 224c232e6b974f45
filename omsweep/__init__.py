"""omsweep: alignment recipes with online merging, searched for the most reward at the least tax."""

__version__ = "0.1.0"
