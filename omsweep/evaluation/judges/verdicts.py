"""What a judge's reply says: one function per form of verdict; `FORMS` names them all. Torch-free.

A comparison gives the preference for the answer that was shown second, in [0, 1]; 0.5 is a tie. A grade is a number in
[1, 10]. None: the reply holds no verdict, or several that differ where one is asked for.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LETTERS: Mapping[str, float] = {"A": 0.0, "B": 1.0, "C": 0.5}
"""`[[A]]`: the first is better, `[[B]]`: the second, `[[C]]`: a tie (arXiv:2306.05685, figure 5)."""

STRONG = 3
"""How many slight wins a strong one counts as, in Arena-Hard (arXiv:2406.11939)."""

MARGINS: Mapping[str, int] = {"A>>B": -STRONG, "A>B": -1, "A=B": 0, "B>A": 1, "B>>A": STRONG}
"""Arena-Hard's five verdicts as wins of the second answer; `A<B` is read as `B>A`, and so on."""

HIGHEST_GRADE = 10.0
_LETTER = re.compile(r"\[\[\s*([ABC])\s*\]\]")
_GRADE = re.compile(r"\[\[\s*(\d{1,3}(?:\.\d+)?)(?:\s*/\s*10)?\s*\]\]")
_SINGLE = re.compile(r"\[\s*(\d{1,3}(?:\.\d+)?)(?:\s*/\s*10)?\s*\]")
_MARGIN = re.compile(r"\[\[\s*([AB])\s*(>>|>|=|<<|<)\s*([AB])\s*\]\]")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a judge answered: its text, and of its first token the probabilities of the likeliest, if they were told."""

    text: str
    first_token: Mapping[str, float] | None = None


def letter(reply: Reply) -> float | None:
    """The last `[[A]]`, `[[B]]` or `[[C]]`: judges are asked to end with it, and may mention others on the way."""
    found = _LETTER.findall(reply.text)
    return LETTERS[found[-1]] if found else None


def margin(reply: Reply) -> float | None:
    """Arena-Hard's verdict, 0.5 + wins / 6; None where verdicts differ: a judge that takes one back has none."""
    wins = {_wins(*one) for one in _MARGIN.findall(reply.text)}
    return 0.5 + wins.pop() / (2 * STRONG) if len(wins) == 1 and None not in wins else None


def _wins(left: str, sign: str, right: str) -> int:
    named = f"{right}{sign.replace('<', '>')}{left}" if "<" in sign else f"{left}{sign}{right}"
    named = "A=B" if sign == "=" and left != right else named
    return MARGINS.get(named)  # type: ignore[return-value]


def token(reply: Reply) -> float | None:
    """AlpacaEval 2's verdict: of `m` (first) and `M` (second), the probability of the second against both.

    Without probabilities it is 0 or 1, and the reply must be that letter alone.
    """
    told = [(name.strip(), p) for name, p in (reply.first_token or {}).items() if name.strip() in ("m", "M")]
    if total := math.fsum(p for _, p in told):
        return math.fsum(p for name, p in told if name == "M") / total
    return {"m": 0.0, "M": 1.0}.get(reply.text.strip())


def grade(reply: Reply) -> float | None:
    """MT-Bench's grade: the first `[[x]]`, else the first `[x]`; None beyond [1, 10]."""
    found = _GRADE.search(reply.text) or _SINGLE.search(reply.text)
    value = float(found[1]) if found else math.nan
    return value if 1.0 <= value <= HIGHEST_GRADE else None


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form of verdict: how it is read, and whether two answers are shown. `tokens` are enough for a reply."""

    read: Callable[[Reply], float | None]
    compares: bool
    tokens: int = 1024
    probabilities: bool = False


FORMS: Mapping[str, Form] = {
    "pairwise": Form(read=letter, compares=True),
    "grade": Form(read=grade, compares=False),
    "alpaca": Form(read=token, compares=True, tokens=1, probabilities=True),
    "arena_hard": Form(read=margin, compares=True, tokens=4096),
}
"""`judge.form` -> how its verdicts are read; its prompt is `templates/FORM.txt`."""
