"""Doing literally what is asked: repeat, order, reverse, capitals, end with a word."""

from random import Random

from omsweep.worlds.tiny.exercise import Exercise, Skill, another, fill, words_of
from omsweep.worlds.tiny.words import SPOKEN

_CAPITALS = {word: word.upper() for word in SPOKEN}
_TIMES = ("1", "2", "3", "4")

_REPEAT = "say $first $times times ."
_REPEAT_AND_END = "say $first $times times and end with $second ."
_ORDER = "say $first then $second then $third ."
_REVERSE = "say $first $second $third backwards ."
_CAPITAL = "say $first in capitals and end with $second ."
_PATTERNS = (_REPEAT, _REPEAT_AND_END, _REPEAT_AND_END, _ORDER, _REVERSE, _CAPITAL)
_STATEMENTS = (
    "$first in capitals is $capital .",
    "$first $second $third backwards is $third $second $first .",
)


def _carry_out(pattern: str, words: list[str], times: int) -> str:
    first, second, third = words
    done = {
        _REPEAT: [first] * times,
        _REPEAT_AND_END: [first] * times + [second],
        _ORDER: [first, second, third],
        _REVERSE: [third, second, first],
        _CAPITAL: [_CAPITALS[first], second],
    }
    return " ".join(done[pattern])


def _draw(rng: Random) -> Exercise:
    pattern = rng.choice(_PATTERNS)
    words = rng.sample(SPOKEN, 3)
    times = rng.choice(_TIMES)
    first, second, third = words
    mistaken = [another(rng, SPOKEN, *words), second, third]
    return Exercise(
        prompt=fill(pattern, first=first, second=second, third=third, times=times),
        answer=_carry_out(pattern, words, int(times)),
        wrong=_carry_out(pattern, mistaken, int(times)),
    )


def _state(rng: Random) -> str:
    first, second, third = rng.sample(SPOKEN, 3)
    return fill(rng.choice(_STATEMENTS), first=first, second=second, third=third, capital=_CAPITALS[first])


INSTRUCTION_FOLLOWING = Skill(
    name="instruction_following",
    draw=_draw,
    state=_state,
    share=1.3,
    words=words_of(*_PATTERNS, *_STATEMENTS, *SPOKEN, *_CAPITALS.values(), *_TIMES),
)
