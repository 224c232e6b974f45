"""Scored answers to one prompt into pairs of a chosen and a rejected one. Pure Python."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from omsweep.preferences.prompts import Prompt


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A sampled answer.

    Attributes:
        text: without special tokens.
        score: the scorer's, more is better; None where it gave no finite number.
        tokens: length without the end token.
        finished: whether the end token came before the longest length.
    """

    text: str
    score: float | None
    tokens: int
    finished: bool


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """What one prompt's answers gave.

    Attributes:
        pairs: (chosen, rejected) as places among the answers.
        ties: comparisons whose margin was not above the least one.
        left_out: answers not compared: empty, without a score, or with the text of an earlier one.
    """

    pairs: tuple[tuple[int, int], ...]
    ties: int
    left_out: int


def _best_worst(order: Sequence[int]) -> list[tuple[int, int]]:
    return [(order[0], order[-1])] if len(order) > 1 else []


def _all(order: Sequence[int]) -> list[tuple[int, int]]:
    return [(better, worse) for place, better in enumerate(order) for worse in order[place + 1 :]]


COMPARISONS = {"best-worst": _best_worst, "all": _all}
"""Which answers of a prompt are compared: of places sorted from the best to the worst, the pairs (better, worse)."""


def pair_answers(answers: Sequence[Answer], *, comparisons: str, min_margin: float) -> Pairing:
    """Pairs whose margin, score of the chosen less score of the rejected, is above `min_margin`.

    Equal scores are ordered by place; a pair therefore never depends on anything but the answers.

    Args:
        answers: in the order they were sampled.
        comparisons: a key of `COMPARISONS`.
        min_margin: at least 0, so that equal scores give no pair.
    """
    first_of: dict[str, int] = {}
    for place, answer in enumerate(answers):
        if answer.text.strip() and answer.score is not None:
            first_of.setdefault(answer.text.strip(), place)
    order = sorted(first_of.values(), key=lambda place: (-_score(answers[place]), place))
    compared = COMPARISONS[comparisons](order)
    kept = tuple(pair for pair in compared if margin(answers, pair) > min_margin)
    return Pairing(pairs=kept, ties=len(compared) - len(kept), left_out=len(answers) - len(order))


def margin(answers: Sequence[Answer], pair: tuple[int, int]) -> float:
    """Score of the chosen answer less that of the rejected one."""
    chosen, rejected = pair
    return _score(answers[chosen]) - _score(answers[rejected])


def pair_record(prompt: Prompt, answers: Sequence[Answer], pair: tuple[int, int], *, seed: int) -> dict[str, Any]:
    """One line of the preference file: TRL's conversational paired format, `id`, scores, margin and where from.

    All pairs of a prompt have its id; `sample_chosen` and `sample_rejected` are places among its answers.
    """
    chosen, rejected = pair
    return {
        "id": prompt.id,
        "prompt": prompt.messages,
        "chosen": [{"role": "assistant", "content": answers[chosen].text}],
        "rejected": [{"role": "assistant", "content": answers[rejected].text}],
        "score_chosen": answers[chosen].score,
        "score_rejected": answers[rejected].score,
        "margin": margin(answers, pair),
        "sample_chosen": chosen,
        "sample_rejected": rejected,
        "seed": seed,
    }


def samples_record(prompt: Prompt, answers: Sequence[Answer]) -> dict[str, Any]:
    """One line of the samples file: everything sampled for a prompt."""
    return {"id": prompt.id, "prompt": prompt.messages, "answers": [asdict(answer) for answer in answers]}


def answers_of(record: Mapping[str, Any]) -> list[Answer]:
    """The answers of a line of the samples file."""
    return [Answer(**answer) for answer in record["answers"]]


def finite(score: float) -> float | None:
    """The score, None for infinity and NaN: a scorer's refusal must not become a preference."""
    return score if math.isfinite(score) else None


def _score(answer: Answer) -> float:
    assert answer.score is not None
    return answer.score
