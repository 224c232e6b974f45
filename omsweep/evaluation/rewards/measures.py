"""What is measured of answers beside every reward: whether they end, repeat themselves, and refuse. Pure functions.

A reward can be bought with each of these; next to it they show that it was.
"""

import re
from collections.abc import Iterable

REFUSED_WITHIN = 200
"""Characters, from its start, in which an answer refuses if it does."""
_REFUSAL = re.compile(
    r"\b(i\s*am|i'm|we\s*are|we're)\s+(very\s+|so\s+|really\s+)?(sorry|afraid|unable|not\s+able|not\s+allowed)\b"
    r"|\bi\s*(cannot|can\s*not|can't|won't|will\s+not|must\s+decline|have\s+to\s+decline)\b"
    r"|\bas\s+an?\s+(ai|artificial|(large\s+)?language\s+model)\b"
    r"|\b(cannot|can't|unable\s+to)\s+(help|assist|comply|fulfil|provide|do)\b"
    r"|\b(my\s+(apologies|guidelines)|i\s+apologi[sz]e)\b",
    re.IGNORECASE,
)


def refuses(answer: str) -> bool:
    """Whether an answer begins with a refusal or an apology, by a rule for English; a hint, not a judgement."""
    return _REFUSAL.search(answer[:REFUSED_WITHIN].replace("\u2019", "'")) is not None


def distinct_n(answers: Iterable[str], n: int = 2) -> float:
    """Distinct n-grams of words over all n-grams of all answers, in [0, 1] (arXiv:1510.03055); NaN without any.

    More text has fewer distinct n-grams by itself: compare like numbers of answers, and see the lengths.
    """
    seen: set[tuple[str, ...]] = set()
    total = 0
    for answer in answers:
        words = answer.lower().split()
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        seen.update(grams)
        total += len(grams)
    return len(seen) / total if total else float("nan")
