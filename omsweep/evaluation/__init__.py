"""Scoring a policy: tax through lm-eval, reward through a scorer, and their comparison with the SFT model."""
