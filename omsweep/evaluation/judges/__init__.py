"""Judges: a language model behind an OpenAI-compatible address says which answer is better, or how good one is."""
