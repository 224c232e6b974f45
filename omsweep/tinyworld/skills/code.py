"""Reading tiny programs: comparisons, looking up a variable, closing brackets."""

from random import Random

from omsweep.tinyworld.exercise import Exercise, Skill, another, fill, words_of
from omsweep.tinyworld.words import NUMBERS

LARGEST = 12
_NUMBERS = NUMBERS[: LARGEST + 1]
_VARIABLES = ("x", "y", "z")
_CLOSING = {"(": ")", "[": "]", "{": "}"}

_COMPARE = ("what does print ( $a $sign $b ) show ?", "is $a $sign $b true or false ?")
_LOOK_UP = ("$program print ( $variable ) shows what ?", "after $program what is $variable ?")
_CLOSE = ("close the brackets $opened",)
_STATEMENTS = (
    "print ( $a $sign $b ) shows $truth .",
    "$program print ( $variable ) shows $value .",
    "$opened $closed",
)


def _comparison(rng: Random) -> tuple[dict[str, str], str]:
    first, second = rng.sample(range(LARGEST + 1), 2)
    sign = rng.choice("<>")
    truth = "true" if (first < second) == (sign == "<") else "false"
    return {"a": str(first), "sign": sign, "b": str(second)}, truth


def _program(rng: Random) -> tuple[dict[str, str], str, str]:
    values = rng.sample(_NUMBERS, 2)
    variables = rng.sample(_VARIABLES, len(values))
    program = " ".join(f"{variable} = {value} ;" for variable, value in zip(variables, values, strict=True))
    asked = rng.randrange(len(values))
    return {"program": program, "variable": variables[asked]}, values[asked], values[asked - 1]


def _brackets(rng: Random) -> list[str]:
    return [rng.choice("([{") for _ in range(rng.choice((2, 3, 4, 4, 5, 5)))]


def _closed(opened: list[str]) -> str:
    return " ".join(_CLOSING[bracket] for bracket in reversed(opened))


def _draw(rng: Random) -> Exercise:
    kind = rng.choice(("compare", "look up", "close"))
    if kind == "compare":
        values, truth = _comparison(rng)
        return Exercise(
            prompt=fill(rng.choice(_COMPARE), **values),
            answer=truth,
            wrong=another(rng, ("true", "false"), truth),
        )
    if kind == "look up":
        values, answer, wrong = _program(rng)
        return Exercise(prompt=fill(rng.choice(_LOOK_UP), **values), answer=answer, wrong=wrong)
    opened = _brackets(rng)
    mistaken = [another(rng, tuple(_CLOSING), opened[0]), *opened[1:]]
    return Exercise(
        prompt=fill(rng.choice(_CLOSE), opened=" ".join(opened)),
        answer=_closed(opened),
        wrong=_closed(mistaken),
    )


def _state(rng: Random) -> str:
    pattern = rng.choice(_STATEMENTS)
    comparison, truth = _comparison(rng)
    program, value, _ = _program(rng)
    opened = _brackets(rng)
    return fill(
        pattern,
        **comparison,
        truth=truth,
        **program,
        value=value,
        opened=" ".join(opened),
        closed=_closed(opened),
    )


CODE = Skill(
    name="code",
    draw=_draw,
    state=_state,
    share=2.0,
    words=words_of(
        *_COMPARE,
        *_LOOK_UP,
        *_CLOSE,
        *_STATEMENTS,
        *_NUMBERS,
        *_VARIABLES,
        "true false = ; < >",
        "( ) [ ] { }",
    ),
)
