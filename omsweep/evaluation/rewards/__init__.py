"""Rewards of answers: how answers are asked for and scored, and what is measured and told of each reward."""
