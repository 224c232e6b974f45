"""What the SFT model is fine-tuned on: everyday prompts, Python's documentation, small tasks on words.

The answers are short, complete and in a neutral tone. Nothing here asks for what the test items ask for.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from random import Random

from omsweep.worlds.everyday.prompts import prompts_of

Conversation = tuple[str, str]
"""(prompt, answer)"""

SHARES = {"everyday": 0.5, "documentation": 0.25, "words": 0.25}

LONGEST_SENTENCE = 200
"""Characters of the longest sentence of the documentation that is an answer."""

REPLIES = (
    "You could do a little of it on most days and see how it goes.",
    "It takes some practice. Start small and write down what works.",
    "That depends on how much time you have. Try it for a week first.",
    "Many people feel like that. A short break may be enough.",
    "Ask someone who has done it before, then decide.",
    "I would make a short list of reasons for and against it.",
    "There is no need to hurry. Do the next small step only.",
    "Set a time for it in the evening and keep to it for ten days.",
    "Some of it is hard at first. It becomes easier with a fixed routine.",
    "You can leave it for now and come back to it next month.",
    "Look at what you already have before you buy anything.",
    "It is a matter of taste. Say plainly what you think of it.",
)

WORDS = (
    "apple", "river", "stone", "window", "garden", "paper", "yellow", "silver", "morning", "button", "ladder",
    "pencil", "bottle", "rabbit", "candle", "basket", "mirror", "pepper", "island", "bridge", "thunder",
    "blanket", "feather", "hammer", "kettle", "lantern", "meadow", "needle", "orange", "pocket",
)  # fmt: skip


def conversations(seed: int) -> Iterator[Conversation]:
    """An endless stream of instructions with their answers, fixed by `seed`."""
    rng = Random(f"everyday instructions {seed}")
    kinds, shares = list(SHARES), list(SHARES.values())
    while True:
        [kind] = rng.choices(kinds, shares)
        yield _DRAW[kind](rng)


def documented() -> list[Conversation]:
    """One question and answer per topic of Python's documentation that has a short first sentence, by topic."""
    return list(_documented())


@lru_cache(maxsize=1)
def _documented() -> tuple[Conversation, ...]:
    from pydoc_data.topics import topics

    return tuple(asked for name in sorted(topics) if (asked := _asked(name, topics)) is not None)


def _asked(name: str, topics: Mapping[str, str]) -> Conversation | None:
    """The first paragraph of prose under a topic's heading, its first sentence as the answer."""
    paragraphs = [" ".join(block.split()) for block in topics[name].split("\n\n")]
    title = topics[name].split("\n", 1)[0].strip().replace('"', "")
    for paragraph in paragraphs[1:]:
        sentence = paragraph.partition(". ")[0].rstrip(":.") + "."
        prose = paragraph[:1].isupper() and not paragraph.startswith("New in version")
        plain = not any(mark in sentence for mark in ("::=", "==", "**")) and sentence.count('"') % 2 == 0
        if prose and plain and 40 <= len(sentence) <= LONGEST_SENTENCE:
            return f"What does Python's documentation say about: {title}?", sentence
    return None


def _everyday(rng: Random) -> Conversation:
    return rng.choice(_sft_prompts()), rng.choice(REPLIES)


@lru_cache(maxsize=1)
def _sft_prompts() -> list[str]:
    return [record["prompt"] for record in prompts_of("sft")]


def _documentation(rng: Random) -> Conversation:
    return rng.choice(_documented())


def _words(rng: Random) -> Conversation:
    chosen = rng.sample(WORDS, rng.randint(2, 4))
    listed = ", ".join(chosen)
    return rng.choice(
        [
            (f"Put these words in alphabetical order: {listed}.", ", ".join(sorted(chosen)) + "."),
            (f"Which of these words is the longest: {listed}?", f"The longest word is {max(chosen, key=len)}."),
            (f"Write these words in the opposite order: {listed}.", ", ".join(reversed(chosen)) + "."),
            (f"Write a sentence with the words {chosen[0]} and {chosen[1]}.", _sentence(chosen)),
        ]
    )


def _sentence(chosen: list[str]) -> str:
    return f"There is a {chosen[0]} beside the {chosen[1]}."


_DRAW: Mapping[str, Callable[[Random], Conversation]] = {
    "everyday": _everyday,
    "documentation": _documentation,
    "words": _words,
}
