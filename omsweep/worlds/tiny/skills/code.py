"""Reading tiny programs: the larger or smaller number, a variable, closing brackets."""

from random import Random

from omsweep.worlds.tiny.exercise import Exercise, Skill, another, fill, words_of
from omsweep.worlds.tiny.words import NUMBERS

LARGEST = 12
_NUMBERS = NUMBERS[: LARGEST + 1]
_VARIABLES = ("x", "y", "z")
_CLOSING = {"(": ")", "[": "]", "{": "}"}

_EXTREME = {"max": max, "min": min}

_CALL = (
    "what does $function ( $first , $second ) return ?",
    "print ( $function ( $first , $second ) ) shows what ?",
    "$variable = $function ( $first , $second ) ; what is $variable ?",
)
_LOOK_UP = ("$variable = $first ; print ( $variable ) shows what ?", "after $variable = $first ; what is $variable ?")
_CLOSE = ("close the brackets $opened",)
_STATEMENTS = (
    "$function ( $first , $second ) returns $result .",
    "$variable = $first ; print ( $variable ) shows $first .",
    "$opened $closed",
)


def _program(rng: Random) -> tuple[dict[str, str], str]:
    """What the patterns are filled in with, and what its function returns."""
    first, second = rng.sample(range(LARGEST + 1), 2)
    function = rng.choice(sorted(_EXTREME))
    values = {"first": str(first), "second": str(second), "function": function, "variable": rng.choice(_VARIABLES)}
    return values, str(_EXTREME[function](first, second))


def _brackets(rng: Random) -> list[str]:
    return [rng.choice("([{") for _ in range(rng.choice((2, 3, 4, 4, 5, 5)))]


def _closed(opened: list[str]) -> str:
    return " ".join(_CLOSING[bracket] for bracket in reversed(opened))


def _draw(rng: Random) -> Exercise:
    kind = rng.choice(("call", "look up", "close"))
    values, result = _program(rng)
    if kind == "call":
        other = values["second"] if result == values["first"] else values["first"]
        return Exercise(prompt=fill(rng.choice(_CALL), **values), answer=result, wrong=other)
    if kind == "look up":
        prompt = fill(rng.choice(_LOOK_UP), **values)
        return Exercise(prompt=prompt, answer=values["first"], wrong=values["second"])
    opened = _brackets(rng)
    mistaken = [another(rng, tuple(_CLOSING), opened[0]), *opened[1:]]
    prompt = fill(rng.choice(_CLOSE), opened=" ".join(opened))
    return Exercise(prompt=prompt, answer=_closed(opened), wrong=_closed(mistaken))


def _state(rng: Random) -> str:
    values, result = _program(rng)
    opened = _brackets(rng)
    return fill(rng.choice(_STATEMENTS), **values, result=result, opened=" ".join(opened), closed=_closed(opened))


CODE = Skill(
    name="code",
    draw=_draw,
    state=_state,
    share=1.2,
    words=words_of(
        *_CALL,
        *_LOOK_UP,
        *_CLOSE,
        *_STATEMENTS,
        *_NUMBERS,
        *_VARIABLES,
        *_EXTREME,
        "( ) [ ] { }",
    ),
)
