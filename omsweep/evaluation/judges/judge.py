"""What a judge says of answers: grades, or preferences over a baseline's answers in both orders."""

import warnings
from collections.abc import Sequence

import numpy as np

from omsweep.evaluation.judges.ask import Verdict, ask
from omsweep.evaluation.judges.both_orders import Judged, compared, graded
from omsweep.evaluation.judges.questions import Chat, comparison, grading
from omsweep.evaluation.judges.settings import JudgeSettings


def judged(
    judge: JudgeSettings,
    chats: Sequence[Chat],
    answers: Sequence[str],
    *,
    baselines: Sequence[str] | None = None,
    references: Sequence[str] | None = None,
) -> Judged:
    """A judge's scores of answers; of a form that compares, of each against its baseline, which equals itself by 50.

    Args:
        judge: who is asked.
        chats: each up to the user's turn that is answered.
        answers: one each.
        baselines: what each is compared with; of a form that compares.
        references: a correct answer each, empty for none.

    Raises:
        ValueError: what `ask` raises.
    """
    assert (baselines is not None) == judge.compares
    said = references or [""] * len(answers)
    if baselines is None:
        bodies = [grading(judge, *one) for one in zip(chats, answers, said, strict=True)]
        return graded([_values(row) for row in _noted(ask(judge, bodies))])
    pairs = list(zip(chats, answers, baselines, said, strict=True))
    differ = [number for number, (_, ours, theirs, _) in enumerate(pairs) if ours != theirs]
    ours_first = [comparison(judge, chat, ours, theirs, ref) for chat, ours, theirs, ref in (pairs[i] for i in differ)]
    ours_second = [comparison(judge, chat, theirs, ours, ref) for chat, ours, theirs, ref in (pairs[i] for i in differ)]
    verdicts = [_values(row) for row in _noted(ask(judge, ours_first + ours_second))]
    first = [[None if one is None else 1.0 - one for one in row] for row in verdicts[: len(differ)]]
    found = compared(first, verdicts[len(differ) :])
    # Equal answers are a tie that nobody has to be asked for, and say nothing of the judge.
    score, place, noise = np.full(len(pairs), 50.0), np.full(len(pairs), np.nan), np.zeros(len(pairs))
    score[differ], place[differ], noise[differ] = found.score, found.first, found.noise
    return Judged(score=score, first=place, noise=noise)


def _values(row: Sequence[Verdict]) -> list[float | None]:
    return [one.value for one in row]


def _noted(verdicts: list[list[Verdict]]) -> list[list[Verdict]]:
    """Warn of questions without a verdict."""
    without = [one.problem for row in verdicts for one in row if one.problem is not None]
    if without:
        count = sum(map(len, verdicts))
        warnings.warn(f"{len(without)} of {count} questions have no verdict, such as: {without[0]}", stacklevel=3)
    return verdicts
