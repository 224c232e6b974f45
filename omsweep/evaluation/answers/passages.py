"""Short answers about a passage, compared word by word as SQuAD's evaluation does: CoQA.

lm-eval's own task needs a module of transformers that version 5 no longer has.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(text: str) -> list[str]:
    """Lower case, without punctuation and English articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact(gold: str, said: str) -> float:
    """1 where both have the same words in the same order."""
    return float(words(gold) == words(said))


def f1(gold: str, said: str) -> float:
    """Harmonic mean of precision and recall over words, counted with their number; 1 where neither has any."""
    there, here = Counter(words(gold)), Counter(words(said))
    if not there or not here:
        return float(there == here)
    return 2 * (there & here).total() / (there.total() + here.total())


def coqa_question(doc: Mapping[str, Any]) -> str:
    """The passage, the dialogue so far with its published answers, and the last question."""
    asked, answered = doc["questions"]["input_text"], doc["answers"]["input_text"][:-1]
    turns = (
        f"Q: {one}\n\n" + ("A:" if answer is None else f"A: {answer}\n\n")
        for one, answer in zip_longest(asked, answered)
    )
    return f"{doc['story']}\n\n{''.join(turns)}"


def coqa_answers(doc: Mapping[str, Any]) -> list[str]:
    """The answers to the last question that differ by more than case, the published one first."""
    last = len(doc["questions"]["input_text"]) - 1
    found: dict[str, str] = {}
    for annotator in (doc["answers"], *(doc.get("additional_answers") or {}).values()):
        answer = annotator["input_text"][last]
        found.setdefault(answer.lower(), answer)
    return list(found.values())


def coqa(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """`em` and `f1` of the first line: the mean, over leaving out each answer in turn, of the best among the others."""
    golds, said = coqa_answers(doc), results[0].strip().split("\n")[0]
    return {"em": _leaving_out(exact, golds, said), "f1": _leaving_out(f1, golds, said)}


def _leaving_out(score: Callable[[str, str], float], golds: Sequence[str], said: str) -> float:
    scores = [score(gold, said) for gold in golds]
    if len(scores) == 1:
        return scores[0]
    return sum(max(scores[:left] + scores[left + 1 :]) for left in range(len(scores))) / len(scores)
