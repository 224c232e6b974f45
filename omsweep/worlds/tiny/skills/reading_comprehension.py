"""Extracting one word from a passage of two sentences."""

from random import Random

from omsweep.worlds.tiny.exercise import Exercise, Skill, another, fill, words_of
from omsweep.worlds.tiny.words import COLOURS, ITEMS, NAMES, PLACES

_PASSAGES = (
    "$who is in the $place . $owner has a $colour $item .",
    "$owner has a $colour $item . $who is in the $place .",
)
_QUESTIONS = (
    ("where is $who ?", "place"),
    ("who is in the $place ?", "who"),
    ("what does $owner have ?", "item"),
    ("which colour is the $item ?", "colour"),
    ("who has a $item ?", "owner"),
)
_POOLS = {"who": NAMES, "owner": NAMES, "place": PLACES, "item": ITEMS, "colour": COLOURS}


def _passage(rng: Random) -> tuple[str, dict[str, str]]:
    who, owner = rng.sample(NAMES, 2)
    values = {
        "who": who,
        "owner": owner,
        "place": rng.choice(PLACES),
        "item": rng.choice(ITEMS),
        "colour": rng.choice(COLOURS),
    }
    return fill(rng.choice(_PASSAGES), **values), values


def _draw(rng: Random) -> Exercise:
    passage, values = _passage(rng)
    question, wanted = rng.choice(_QUESTIONS)
    wrong = another(rng, _POOLS[wanted], values[wanted])
    prompt = f"{passage} {fill(question, **values)}"
    return Exercise(prompt=prompt, answer=values[wanted], wrong=wrong, passage=passage)


def _state(rng: Random) -> str:
    return _passage(rng)[0]


READING_COMPREHENSION = Skill(
    name="reading_comprehension",
    draw=_draw,
    state=_state,
    share=1.6,
    words=words_of(*_PASSAGES, *(question for question, _ in _QUESTIONS), *NAMES, *PLACES, *ITEMS, *COLOURS),
)
