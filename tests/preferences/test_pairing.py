"""Pairs of scored answers: by hand, and against every comparison."""

import math
from itertools import permutations
from random import Random

import pytest

from omsweep.preferences.pairing import (
    Answer,
    answers_of,
    finite,
    margin,
    pair_answers,
    pair_record,
    samples_record,
)
from omsweep.preferences.prompts import Prompt
from omsweep.preferences.request import PairSettings, differences

PROMPT = Prompt(id="p", messages=[{"role": "user", "content": "hello"}])


def answers(*scores: float | None, texts: str | None = None) -> list[Answer]:
    named = texts or "abcdefgh"
    return [
        Answer(text=text, score=score, tokens=1, finished=True)
        for text, score in zip(named, scores, strict=texts is not None)
    ]


def pairs(given: list[Answer], comparisons: str = "best-worst", min_margin: float = 0.0) -> tuple[tuple[int, int], ...]:
    return pair_answers(given, comparisons=comparisons, min_margin=min_margin).pairs


def test_best_and_worst() -> None:
    given = answers(1.0, 4.0, -2.0, 3.0)
    assert pairs(given) == ((1, 2),)
    assert margin(given, (1, 2)) == 6.0


def test_all_from_the_best_on() -> None:
    assert pairs(answers(1.0, 4.0, 2.0), "all") == ((1, 2), (1, 0), (2, 0))
    assert pairs(answers(1.0, 4.0, 2.0), "all", min_margin=1.0) == ((1, 2), (1, 0))


def test_a_margin_at_the_least_one_is_a_tie() -> None:
    for comparisons, ties in (("best-worst", 1), ("all", 3)):
        made = pair_answers(answers(0.5, 0.5, 0.5), comparisons=comparisons, min_margin=0.0)
        assert (made.pairs, made.ties, made.left_out) == ((), ties, 0)
    assert pairs(answers(1.0, 2.0), min_margin=1.0) == ()
    assert pairs(answers(1.0, 2.5), min_margin=1.0) == ((1, 0),)


def test_equal_scores_go_by_place() -> None:
    assert pairs(answers(1.0, 2.0, 2.0, 1.0)) == ((1, 3),)
    assert pairs(answers(1.0, 2.0, 2.0, 1.0), "all") == ((1, 0), (1, 3), (2, 0), (2, 3))


def test_equal_empty_and_unscored_answers_are_left_out() -> None:
    given = answers(1.0, 9.0, 2.0, None, 3.0, texts="aa bc")
    made = pair_answers(given, comparisons="best-worst", min_margin=0.0)
    assert (made.pairs, made.ties, made.left_out) == (((4, 0),), 0, 3)
    alone = pair_answers(answers(1.0, 2.0, texts="aa"), comparisons="all", min_margin=0.0)
    assert (alone.pairs, alone.ties, alone.left_out) == ((), 0, 1)
    assert (finite(math.nan), finite(math.inf), finite(0.5)) == (None, None, 0.5)


@pytest.mark.parametrize("seed", range(20))
def test_all_is_every_ordered_comparison_above_the_margin(seed: int) -> None:
    rng = Random(seed)
    given = answers(*(rng.choice([0.0, 0.5, 1.0, 2.0]) for _ in range(6)))
    wanted = {pair for pair in permutations(range(6), 2) if margin(given, pair) > 0.5}
    made = pair_answers(given, comparisons="all", min_margin=0.5)
    assert set(made.pairs) == wanted
    assert len(made.pairs) + made.ties == 15
    best = pairs(given, min_margin=0.5)
    assert [margin(given, pair) for pair in best] == sorted(margin(given, pair) for pair in wanted)[-1:]


def test_records_hold_everything_and_read_back() -> None:
    given = answers(1.0, None, 3.0)
    assert answers_of(samples_record(PROMPT, given)) == given
    assert pair_record(PROMPT, given, (2, 0), seed=7) == {
        "id": "p",
        "prompt": [{"role": "user", "content": "hello"}],
        "chosen": [{"role": "assistant", "content": "c"}],
        "rejected": [{"role": "assistant", "content": "a"}],
        "score_chosen": 3.0,
        "score_rejected": 1.0,
        "margin": 2.0,
        "sample_chosen": 2,
        "sample_rejected": 0,
        "seed": 7,
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samples": 1}, "samples must be at least 2, got 1"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"temperature": math.nan}, "temperature must be above 0, got nan"),
        ({"min_margin": -0.1}, "min_margin must be at least 0, got -0.1"),
        ({"min_margin": math.inf}, "min_margin must be at least 0, got inf"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"pairs": "some"}, "pairs must be one of best-worst, all, got 'some'"),
    ],
)
def test_settings_are_checked(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairSettings(**changed)


def test_differences_name_the_path() -> None:
    before = {"a": 1, "b": {"c": 2, "d": 3}, "gone": None}
    assert differences(before, before) == []
    assert differences(before, {"a": 1, "b": {"c": 4, "d": 3}, "new": "x"}) == [
        "b.c: 2 there, 4 now",
        "new: None there, 'x' now",
    ]
