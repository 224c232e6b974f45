"""Every word of the embedded world, in a fixed order: what the word-level tokenizers know."""

from omsweep.worlds.tiny import preferences, topics, training_text
from omsweep.worlds.tiny.skills.table import SKILLS


def vocabulary() -> tuple[str, ...]:
    """All words that prompts, answers, raw text and preference candidates can hold, sorted; no specials."""
    words = topics.WORDS | preferences.WORDS | training_text.WORDS
    return tuple(sorted(words.union(*(skill.words for skill in SKILLS.values()))))
