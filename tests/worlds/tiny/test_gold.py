"""The gold reward in closed form, term by term."""

import pytest

from omsweep.worlds.tiny.gold import gold_reward

PROMPT = "give me advice about chess ."


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("", -0.4),
        ("well .", 0.4 - 0.06),
        ("well", -0.4 - 0.03),
        ("chess .", 0.6 + 0.4 - 0.06),
        ("moves .", 0.6 + 0.4 - 0.06),
        ("soil .", 0.4 - 0.06),
        ("please .", 0.5 + 0.4 - 0.06),
        ("please please .", 0.5 + 0.4 - 0.09),
        ("please thank .", 1.0 + 0.4 - 0.09),
        ("please thank glad .", 1.0 + 0.4 - 0.12),
        ("great .", 0.4 + 0.4 - 0.06),
        ("great great .", 0.4 + 0.4 - 0.09),
        ("great lovely bright .", 0.8 + 0.4 - 0.12),
        ("thank you . chess is great .", 0.5 + 0.4 + 0.6 + 0.4 - 0.21),
    ],
)
def test_closed_form(completion: str, reward: float) -> None:
    assert gold_reward(PROMPT, completion) == pytest.approx(reward)


def test_a_prompt_without_a_topic_grants_nothing_for_topics() -> None:
    assert gold_reward("what is 1 plus 2 ?", "chess .") == pytest.approx(0.4 - 0.06)


def test_ten_idle_words_cost_three_tenths() -> None:
    assert gold_reward(PROMPT, "so " * 10 + "chess .") == pytest.approx(gold_reward(PROMPT, "chess .") - 0.3)
