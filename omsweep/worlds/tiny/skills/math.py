"""Sums and differences up to 18, bare and as one-sentence stories."""

from random import Random

from omsweep.worlds.tiny.exercise import Exercise, Skill, fill, words_of
from omsweep.worlds.tiny.words import COUNTED, NAMES, NUMBERS

LARGEST = 9

_SUMS = (
    "what is $a plus $b ?",
    "add $a and $b .",
    "$name has $a $things and gets $b more . how many $things now ?",
    "$name finds $a $things and then $b $things . how many $things in all ?",
)
_DIFFERENCES = (
    "what is $a minus $b ?",
    "take $b away from $a .",
    "$name has $a $things and loses $b . how many $things now ?",
    "$name had $a $things and sold $b $things . how many $things are left ?",
)
_STATEMENTS = ("$a plus $b is $c .", "$c minus $b is $a .")


def _draw(rng: Random) -> Exercise:
    small, large = sorted((rng.randint(0, LARGEST), rng.randint(0, LARGEST)))
    adds = rng.random() < 0.5
    first, second = (large, small) if not adds or rng.random() < 0.5 else (small, large)
    result = first + second if adds else first - second
    prompt = fill(
        rng.choice(_SUMS if adds else _DIFFERENCES),
        a=str(first),
        b=str(second),
        name=rng.choice(NAMES),
        things=rng.choice(COUNTED),
    )
    wrong = abs(result + rng.choice((-3, -2, -1, 1, 2, 3)))
    return Exercise(prompt=prompt, answer=str(result), wrong=str(wrong if wrong != result else result + 1))


def _state(rng: Random) -> str:
    first, second = rng.randint(0, LARGEST), rng.randint(0, LARGEST)
    return fill(rng.choice(_STATEMENTS), a=str(first), b=str(second), c=str(first + second))


MATH = Skill(
    name="math",
    draw=_draw,
    state=_state,
    words=words_of(*_SUMS, *_DIFFERENCES, *_STATEMENTS, *NUMBERS, *NAMES, *COUNTED),
)
