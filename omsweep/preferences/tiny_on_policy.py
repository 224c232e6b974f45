"""The `tiny-on-policy` data set: pairs of answers that a family's SFT model gave itself, judged by the gold reward.

They are those of `omsweep prefs --model FAMILY --prompts tiny --scorer tiny`, made of every SFT model of a sweep.
"""

from typing import Any

from omsweep.preferences.pairing import Answer, pair_answers, pair_record
from omsweep.preferences.prompts import Prompt
from omsweep.preferences.settings import Generate
from omsweep.preferences.tiny import check_no_test_item, open_prompts
from omsweep.worlds.tiny.gold import gold_reward

__all__ = ["build_pairs", "open_prompts"]


def build_pairs(generate: Generate, *, prompts: int, samples: int, seed: int) -> list[dict[str, Any]]:
    """The best against the worst of `samples` answers to each open-ended one of `prompts` training prompts.

    Raises:
        ValueError: a prompt is also a tax item or a reward prompt.
    """
    records = open_prompts(prompts=prompts, seed=seed)
    check_no_test_item([record["id"] for record in records])
    chats = [Prompt(id=r["id"], messages=[{"role": "user", "content": r["prompt"]}]) for r in records]
    found = []
    for chat, texts in zip(chats, generate([chat.messages for chat in chats], samples, seed), strict=True):
        answers = [_judged(chat, text) for text in texts]
        pairing = pair_answers(answers, comparisons="best-worst", min_margin=0.0)
        found += [pair_record(chat, answers, pair, seed=seed) for pair in pairing.pairs]
    return found


def _judged(chat: Prompt, text: str) -> Answer:
    score = gold_reward(chat.messages[-1]["content"], text)
    return Answer(text=text, score=score, tokens=len(text.split()), finished=True)
