import math

import pytest

from omsweep.evaluation.rewards.measures import distinct_n, refuses


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot do this.", True),
        ("I can\u2019t say.", True),
        ("As an AI language model, I have no feelings.", True),
        ("Unfortunately we are unable to assist.", True),
        ("The capital is Paris.", False),
        ("He said that he was sorry.", False),
        ("", False),
        ("Paris. " * 100 + "I'm sorry, I cannot.", False),
        ("x" * 100_000, False),
        ("\udcff\x00", False),
    ],
)
def test_refusals_are_told_by_how_an_answer_begins(answer, refused):
    assert refuses(answer) is refused


def test_distinct_counts_pairs_of_words_over_all_answers():
    assert distinct_n(["a b c"]) == 1.0
    assert distinct_n(["a b", "a b"]) == 0.5
    assert distinct_n(["a a a a a"]) == 0.25
    assert distinct_n(["A b", "a B"], n=1) == 0.5
    assert math.isnan(distinct_n(["", "one"]))
