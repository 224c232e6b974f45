"""HumanEval-style items: a function with a docstring and an example; the last line lacks one word.

The right word is what makes the example true: a test runs the finished functions.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from random import Random
from typing import Any, NamedTuple

Choice = Callable[[Random, str, str, str, list[str]], dict[str, Any]]


class Problem(NamedTuple):
    """A function of one line.

    `examples` are (arguments, result) as text; `before` and `after` are what it returns around `word`.
    """

    name: str
    arguments: str
    what: str
    examples: tuple[tuple[str, str], ...]
    before: str
    word: str
    after: str
    words: tuple[str, ...]


_TABLE: Mapping[tuple[str, ...], tuple[tuple[str, str, str, str, str], ...]] = {
    ("+", "-", "*", "/", "%"): (
        ("add", "a, b", "the sum of a and b", "2, 3 -> 5; 7, 4 -> 11", "a {+} b"),
        ("subtract", "a, b", "a without b", "9, 4 -> 5; 7, 1 -> 6", "a {-} b"),
        ("multiply", "a, b", "the product of a and b", "2, 5 -> 10; 4, 3 -> 12", "a {*} b"),
        ("remainder", "a, b", "what is left when a is divided by b", "9, 4 -> 1; 11, 4 -> 3", "a {%} b"),
        ("share", "a, b", "a divided by b", "9, 2 -> 4.5; 6, 4 -> 1.5", "a {/} b"),
        ("double", "number", "the number times two", "5 -> 10; 8 -> 16", "number {*} 2"),
        ("triple", "number", "the number times three", "5 -> 15; 8 -> 24", "number {*} 3"),
        ("half", "number", "the number divided by two", "5 -> 2.5; 9 -> 4.5", "number {/} 2"),
        ("next_year", "year", "the year after this one", "1999 -> 2000; 2023 -> 2024", "year {+} 1"),
        ("last_year", "year", "the year before this one", "1999 -> 1998; 2023 -> 2022", "year {-} 1"),
        ("area", "width, height", "the area of a rectangle", "3, 5 -> 15; 2, 7 -> 14", "width {*} height"),
        ("change", "paid, price", "what is paid above the price", "9, 2 -> 7; 8, 3 -> 5", "paid {-} price"),
        ("fall", "before, after", "how far it fell", "9, 3 -> 6; 10, 4 -> 6", "before {-} after"),
        ("square", "number", "the number times itself", "5 -> 25; 8 -> 64", "number {*} number"),
        ("seconds", "minutes", "the seconds in so many minutes", "2 -> 120; 5 -> 300", "minutes {*} 60"),
        ("last_digit", "number", "the last digit of the number", "47 -> 7; 125 -> 5", "number {%} 10"),
    ),
    ("max", "min", "sum", "len"): (
        ("largest", "values", "the largest of the values", "[3, 9, 4] -> 9; [7, 2] -> 7", "{max}(values)"),
        ("smallest", "values", "the smallest of the values", "[5, 9, 6] -> 5; [7, 4] -> 4", "{min}(values)"),
        ("total", "values", "all values added together", "[3, 9, 4] -> 16; [7, 2] -> 9", "{sum}(values)"),
        ("count", "values", "how many values there are", "[5, 9, 4] -> 3; [7, 8] -> 2", "{len}(values)"),
    ),
    ("sorted", "list", "len", "set"): (
        ("in_order", "values", "the values in order", "[2, 1] -> [1, 2]; [9, 8] -> [8, 9]", "{sorted}(values)"),
    ),
    (">", "<", "=="): (
        ("is_larger", "a, b", "whether a is larger than b", "3, 2 -> True; 9, 4 -> True", "a {>} b"),
        ("is_smaller", "a, b", "whether a is smaller than b", "2, 3 -> True; 4, 9 -> True", "a {<} b"),
        ("is_equal", "a, b", "whether a and b are equal", "3, 3 -> True; 8, 8 -> True", "a {==} b"),
        ("is_even", "n", "whether n is even", "4 -> True; 10 -> True", "n % 2 {==} 0"),
        ("is_odd", "n", "whether n is odd", "3 -> True; 7 -> True", "n % 2 {==} 1"),
        ("is_adult", "age", "whether the age is above 17", "18 -> True; 40 -> True", "age {>} 17"),
        ("is_cheap", "price", "whether the price is below 10", "8 -> True; 5 -> True", "price {<} 10"),
    ),
    ("and", "or"): (
        ("both", "a, b", "whether a and b are both true", "True, False -> False; False, True -> False", "a {and} b"),
        ("either", "a, b", "whether a or b is true", "True, False -> True; False, True -> True", "a {or} b"),
    ),
}  # fmt: skip

DOCSTRINGS = ("Return {what}.", "Compute {what}.")


def problems() -> list[Problem]:
    """Every problem of the table."""
    found = []
    for words, rows in _TABLE.items():
        for name, arguments, what, examples, body in rows:
            before, rest = body.split("{")
            word, after = rest.split("}")
            pairs = tuple((given, result) for given, result in (text.split(" -> ") for text in examples.split("; ")))
            found.append(Problem(name, arguments, what, pairs, f"return {before}".rstrip(), word, after, words))
    return found


def code_items(rng: Random, choice: Choice) -> Iterator[dict[str, Any]]:
    """Every problem under every docstring and example, mixed."""
    variants = list(product(problems(), DOCSTRINGS, (0, 1)))
    rng.shuffle(variants)
    for problem, docstring, which in variants:
        given, result = problem.examples[which]
        head = f'def {problem.name}({problem.arguments}):\n    """{docstring.format(what=problem.what)}\n\n'
        head += f'    >>> {problem.name}({given})\n    {result}\n    """'
        wrong = [word for word in problem.words if word != problem.word]
        wrong = rng.sample(wrong, min(3, len(wrong)))
        prompt, prefix = f"Complete this Python function:\n\n{head}", f"    {problem.before}"
        yield choice(rng, prompt, prefix, problem.word, wrong) | {"cluster": problem.name}
