"""An exactly gradable exercise, a skill that draws them, and how sentences are filled in from patterns."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """A user's prompt, the only right answer, and a plausible wrong one of the same form.

    `passage` is the part of the prompt that other questions may be about too; empty where there is none.
    """

    prompt: str
    answer: str
    wrong: str
    passage: str = ""


@dataclass(frozen=True, kw_only=True)
class Skill:
    """One category of the tax suite.

    Attributes:
        name: category, as in the paper: `math`, `code`, ...
        draw: a random exercise; the same state of the generator gives the same exercise.
        state: a raw sentence that teaches the skill's facts without asking anything (pretraining).
        share: how often it is practised in training, relative to the other skills; harder ones need more.
        words: every word that its prompts, answers and sentences can hold.
    """

    name: str
    draw: Callable[[Random], Exercise]
    state: Callable[[Random], str]
    share: float = 1.0
    words: frozenset[str]


def fill(pattern: str, **values: str) -> str:
    """Replace each word `$name` of `pattern` by `values["name"]`; words are separated by single spaces."""
    return " ".join(values[word[1:]] if word.startswith("$") else word for word in pattern.split())


def words_of(*texts: str) -> frozenset[str]:
    """The words of patterns and texts, placeholders left out."""
    return frozenset(word for text in texts for word in text.split() if not word.startswith("$"))


def another(rng: Random, choices: tuple[str, ...], *taken: str) -> str:
    """A random member of `choices` that is not among `taken`."""
    return rng.choice([choice for choice in choices if choice not in taken])
