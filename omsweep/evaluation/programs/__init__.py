"""Benchmarks whose answers are programs: what of an answer is the program, and what runs it with its tests."""
