"""MT-Bench: questions of two turns in FastChat's format, and how answers to each category are drawn. Torch-free.

A line is `{"question_id", "category", "turns": [text, text], "reference": [text, text]}`, the last optional
(arXiv:2306.05685; the set has eight categories of ten questions).
"""

from collections.abc import Mapping
from typing import Any

TEMPERATURES: Mapping[str, float] = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
"""FastChat's, by category; others are answered at `OTHERS`."""
OTHERS = 0.7
WITH_REFERENCE = ("math", "reasoning", "coding")
"""Categories that are judged beside a correct answer, where the question has one."""


def temperature_of(category: str) -> float:
    """At what temperature FastChat answers a category."""
    return TEMPERATURES.get(category, OTHERS)


def reference_for(category: str, reference: str | None) -> str:
    """The correct answer that a judge is shown, empty for none."""
    return reference or "" if category in WITH_REFERENCE else ""


def turns_of(record: Mapping[str, Any], where: str) -> list[str]:
    """The user's turns of a record in this format, none of another; ValueError where one is no text."""
    turns = record.get("turns", [])
    references = record.get("reference") or []
    for name, texts in (("turns", turns), ("reference", references if turns else [])):
        if not isinstance(texts, list) or not all(
            isinstance(one, str) and (one.strip() or name != "turns") for one in texts
        ):
            raise ValueError(f"{where}: {name} must be a list of texts, got {texts!r:.80}")
    return list(turns)
