"""What every row of `SCORERS` keeps; those that load a model or ask one are tested by themselves."""

import math

import pytest

from omsweep.evaluation.scorers import make_scorer
from omsweep.evaluation.settings import IMPLICIT, SCORERS, RewardSettings

CHATS = [
    [{"role": "user", "content": "sum one two"}],
    [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes ."}, {"role": "user", "content": "why"}],
    [{"role": "user", "content": ""}],
]
COMPLETIONS = ["three .", "because it is good . it is good .", ""]


@pytest.mark.parametrize("name", [name for name in SCORERS if name not in ("reward_model", "judge", IMPLICIT)])
def test_one_finite_score_for_each_pair_whatever_stands_beside_it(name: str) -> None:
    scorer = make_scorer(RewardSettings(scorer=name, pattern="good" if name == "pattern" else None))
    try:
        assert scorer.score([], []) == []
    except ValueError as error:
        if "pip install" in str(error):
            pytest.skip(str(error))
        raise
    scores = scorer.score(CHATS, COMPLETIONS)
    assert len(scores) == 3
    assert all(isinstance(score, float) and math.isfinite(score) for score in scores)
    alone = [scorer.score([chat], [completion])[0] for chat, completion in zip(CHATS, COMPLETIONS, strict=True)]
    assert alone == scores
