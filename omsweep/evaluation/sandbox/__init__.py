"""Run a program that a model wrote: in namespaces of its own, with limits, without trust. Linux only; no torch."""
