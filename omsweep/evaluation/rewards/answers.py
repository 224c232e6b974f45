"""A policy's answers to reward prompts, turn after turn, and what a scorer says of answers that are there."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from omsweep.evaluation.generation import Completion
from omsweep.evaluation.judges.baseline import baseline_answers
from omsweep.evaluation.judges.judge import judged
from omsweep.evaluation.judges.settings import SFT
from omsweep.evaluation.prompts import RewardPrompt, all_reward_prompts
from omsweep.evaluation.scorers import make_scorer
from omsweep.evaluation.settings import RewardSettings, prompts_path
from omsweep.evaluation.spread import Spread, alone

BESIDE = "beside"
"""`kind` of rows whose reward is recorded and selects nothing."""
PLACE = ["item_id", "decoder", "sample"]
"""Which answer a row of rewards is about."""
SAID = ["score", "first_shown", "judge_noise"]
"""Columns that a scorer fills."""

Generate = Callable[[Sequence[Any], int, float], list[list[Completion]]]
"""From chats, how often each, and a temperature (0: greedy) to the completions of each."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer: to which prompt, in which of its turns (from 0), how it was drawn, after what, and what it says."""

    prompt: RewardPrompt
    turn: int
    decoder: str
    sample: int
    chat: Sequence[Mapping[str, str]]
    completion: Completion

    @property
    def item_id(self) -> str:
        """The prompt's id, with the number of the turn from the second on."""
        return item_of(self.prompt, self.turn)


def item_of(prompt: RewardPrompt, turn: int) -> str:
    """The id of a prompt's turn (from 0) in tables of scores."""
    return f"{prompt.item_id}#{turn + 1}" if turn else prompt.item_id


def answers(generate: Generate, prompts: Sequence[RewardPrompt], *, samples: int, temperature: float) -> list[Answer]:
    """`samples` drawn answers to every prompt, then a greedy one; each goes on with its own answers to earlier turns.

    A prompt's own temperature counts in place of `temperature`.
    """
    found: list[Answer] = []
    for decoder, times in (("sampled", samples), ("greedy", 1)):
        by_temperature: dict[float, list[RewardPrompt]] = defaultdict(list)
        for one in prompts:
            own = temperature if one.temperature is None else one.temperature
            by_temperature[own if decoder == "sampled" else 0.0].append(one)
        drawn: dict[tuple[str, int], Answer] = {}
        for heat, group in by_temperature.items():
            for prompt, row in zip(group, generate([one.messages for one in group], times, heat), strict=True):
                for sample, completion in enumerate(row):
                    drawn[prompt.item_id, sample] = _answer(prompt, 0, decoder, sample, prompt.messages, completion)
        ordered = [drawn[one.item_id, sample] for one in prompts for sample in range(times)]
        found += ordered
        while going_on := [one for one in ordered if one.turn < len(one.prompt.later)]:
            ordered = _next_turn(generate, going_on, temperature)
            found += ordered
    return found


def _next_turn(generate: Generate, before: Sequence[Answer], temperature: float) -> list[Answer]:
    by_temperature: dict[float, list[Answer]] = defaultdict(list)
    for one in before:
        own = temperature if one.prompt.temperature is None else one.prompt.temperature
        by_temperature[own if one.decoder == "sampled" else 0.0].append(one)
    found = []
    for heat, group in by_temperature.items():
        chats = [
            (
                *one.chat,
                {"role": "assistant", "content": one.completion.text},
                {"role": "user", "content": one.prompt.later[one.turn]},
            )
            for one in group
        ]
        for one, chat, row in zip(group, chats, generate(chats, 1, heat), strict=True):
            found.append(_answer(one.prompt, one.turn + 1, one.decoder, one.sample, chat, row[0]))
    return found


def _answer(prompt: RewardPrompt, turn: int, decoder: str, sample: int, chat: Any, completion: Completion) -> Answer:
    return Answer(prompt=prompt, turn=turn, decoder=decoder, sample=sample, chat=chat, completion=completion)


def scored(
    rows: pd.DataFrame, reward: RewardSettings, *, baseline: pd.DataFrame | None = None, spread: Spread = alone
) -> pd.DataFrame:
    """Rows of answers with what a reward's scorer says of them: `task` and the columns `SAID`.

    Args:
        rows: answers to the reward's prompts, of all turns, with the columns of `score.COLUMNS` but `SAID`.
        reward: the scorer.
        baseline: rows with the SFT model's answers, which a judge compares with; None: these are the SFT model's own.
        spread: who computes the batches of a model.

    Raises:
        ValueError: answers to prompts that the reward does not have, or what the scorer raises.
    """
    prompts = {one.item_id: one for one in all_reward_prompts(prompts_path(reward.prompts))}
    chats = _chats(rows, prompts)
    texts = rows["completion"].tolist()
    found = rows.assign(task=reward.called, **dict.fromkeys(SAID, np.nan))
    known = [name for name in found if name not in SAID]
    after = known.index("sample") + 1
    found = found[[*known[:after], *SAID, *known[after:]]]
    if reward.judge is None:
        try:
            found["score"] = [float(one) for one in make_scorer(reward).score(chats, texts, spread=spread)]
        finally:
            if not reward.keep:
                free_scorers()
        return found
    # Answers that nobody asks the judge about have no score: they cost money.
    asked = np.flatnonzero((rows["decoder"] == "sampled") & (rows["sample"] < reward.judge.samples))
    others = None if not reward.judge.compares else _others(rows, chats, reward.judge.against, prompts, baseline)
    said = judged(
        reward.judge,
        [chats[i] for i in asked],
        [texts[i] for i in asked],
        baselines=None if others is None else [others[i] for i in asked],
        references=[_reference(prompts, rows["item_id"].iat[i]) for i in asked],
    )
    for column, values in zip(SAID, (said.score, said.first, said.noise), strict=True):
        found.iloc[asked, found.columns.get_loc(column)] = values
    return found


def free_scorers() -> None:
    """Let go of the models of scorers, and of the GPU memory that they had."""
    from omsweep.evaluation.scorers.reward_model import free

    make_scorer.cache_clear()
    free()


def _chats(rows: pd.DataFrame, prompts: Mapping[str, RewardPrompt]) -> list[list[Mapping[str, str]]]:
    """What each row answers: its prompt, and of a later turn what was said before by the same draw."""
    said = {tuple(place): text for *place, text in rows[[*PLACE, "completion"]].to_numpy()}
    found = []
    for item_id, decoder, sample in rows[PLACE].to_numpy():
        own, turn = _turn_of(item_id, prompts)
        prompt = prompts[own]
        chat = list(prompt.messages)
        for number in range(turn):
            earlier = said[item_of(prompt, number), decoder, sample]
            chat += [
                {"role": "assistant", "content": earlier},
                {"role": "user", "content": prompt.later[number]},
            ]
        found.append(chat)
    return found


def _turn_of(item_id: str, prompts: Mapping[str, RewardPrompt]) -> tuple[str, int]:
    if item_id in prompts:
        return item_id, 0
    own, _, turn = item_id.rpartition("#")
    if own not in prompts or not turn.isdigit() or not 1 < int(turn) <= len(prompts[own].later) + 1:
        raise ValueError(f"reward prompt {item_id!r} was answered, and is not among the reward's prompts")
    return own, int(turn) - 1


def _reference(prompts: Mapping[str, RewardPrompt], item_id: str) -> str:
    own, turn = _turn_of(item_id, prompts)
    known = prompts[own].references
    return known[turn] if turn < len(known) else ""


def _others(
    rows: pd.DataFrame,
    chats: Sequence[Sequence[Mapping[str, str]]],
    against: str,
    prompts: Mapping[str, RewardPrompt],
    baseline: pd.DataFrame | None,
) -> list[str]:
    """What each answer is compared with."""
    if against == SFT and baseline is None:
        return rows["completion"].tolist()
    if against == SFT:
        assert baseline is not None
        known = {tuple(place): text for *place, text in baseline[[*PLACE, "completion"]].to_numpy()}
        return [known[tuple(place)] for place in rows[PLACE].to_numpy()]
    fixed, found = baseline_answers(against), []
    for item_id, chat in zip(rows["item_id"], chats, strict=True):
        asked = chat[-1]["content"]
        if item_id not in fixed and asked not in fixed:
            raise ValueError(f"judge.against {against} has no answer to reward prompt {item_id}: {asked!r:.80}")
        found.append(fixed.get(item_id, fixed.get(asked, "")))
    return found
