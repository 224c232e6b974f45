"""Answers in the language that was asked for: translation by chrF, consistency by scripts and stop words."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

SCRIPTS: Mapping[str, frozenset[str]] = {
    "zh": frozenset({"CJK"}),
    "ja": frozenset({"CJK", "HIRAGANA", "KATAKANA"}),
    "ko": frozenset({"HANGUL"}),
    "ru": frozenset({"CYRILLIC"}),
    "ar": frozenset({"ARABIC"}),
    "el": frozenset({"GREEK"}),
    "he": frozenset({"HEBREW"}),
    "hi": frozenset({"DEVANAGARI"}),
    "th": frozenset({"THAI"}),
    **dict.fromkeys(("en", "de", "fr", "es", "it", "pt", "nl"), frozenset({"LATIN"})),
}
"""Scripts of a language's words, as the names of Unicode's characters begin."""
_FREQUENT = {
    "en": """
        the of and to is are was were it that this with for you on as be have has can your they we from or
        by not an which
    """,
    "de": """
        der die das und ist sind nicht ein eine einen einem einer mit von zu auf für sie wir ich es den dem
        des im auch wie oder wird
    """,
    "fr": """
        le la les et est sont une des du de que qui dans pour pas vous nous il elle sur avec au aux ce cette
        plus ou en l d c
    """,
    "es": """
        el la los las y es son una un de del que en por para con no se su como más pero lo al está o muy
    """,
    "it": """
        il lo la gli le e è sono un una di del della che in per con non si come più ma anche nel questo o i
        al
    """,
    "pt": """
        o a os as e é são um uma de do da dos das que em por para com não se como mais mas ao na no você ou
        muito
    """,
    "nl": """
        de het een en is zijn van te dat die niet met voor op aan er maar ook om je we ik hij of als bij
        wordt
    """,
}
STOP_WORDS: Mapping[str, frozenset[str]] = {name: frozenset(words.split()) for name, words in _FREQUENT.items()}
"""Frequent words that tell languages of one script apart."""
MOST_FOREIGN = 0.1
"""Share of words, or of characters of scripts without spaces, that may be of other scripts: names and terms."""
LEAST_KANA = 0.1
"""Share of kana in Japanese, which Chinese has none of."""
_ONE_BY_ONE = frozenset({"CJK", "HIRAGANA", "KATAKANA", "THAI"})
_NO_TEXT = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|<[^<>\n]*>", re.DOTALL)
_SENTENCE = re.compile("[.!?\u3002\uff01\uff1f;:\n]+")
_LEAST_WORDS, _LEAST_HITS = 5, 2


def translation(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """chrF (arXiv:1508.07909 as sacrebleu computes it: characters up to 6, beta 2) of the answer, in [0, 1]."""
    from sacrebleu import sentence_chrf

    return {"chrf": sentence_chrf(results[0].strip(), [doc["reference"]]).score / 100}


def consistency(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1 where the whole answer is in the language that the item asks for."""
    return {"acc": float(is_in(results[0], doc["language"]))}


def is_in(text: str, language: str) -> bool:
    """Whether a text is in a language, and stays in it.

    Code, addresses and tags do not count. At most `MOST_FOREIGN` of the words may be of other scripts. Where several
    languages share a script, the stop words of none may occur more often than its own, in the whole text as in any
    sentence of five words or more that holds two of them. Languages that have no stop words here are not told from
    others of their script (Ukrainian passes as Russian), nor are texts of a few words.

    Raises:
        ValueError: a language that is not in `SCRIPTS`.
    """
    if language not in SCRIPTS:
        raise ValueError(f"language must be one of {', '.join(SCRIPTS)}, got {language!r}")
    plain = _NO_TEXT.sub(" ", text)
    units = Counter(_units(plain))
    own, every = sum(units[script] for script in SCRIPTS[language]), units.total()
    if not own or every - own > MOST_FOREIGN * every:
        return False
    if language == "ja" and units["HIRAGANA"] + units["KATAKANA"] < LEAST_KANA * every:
        return False
    if language not in STOP_WORDS:
        return True
    whole = _hits(plain)
    if not whole[language] or max(whole.values()) > whole[language]:
        return False
    return not any(_elsewhere(sentence, language) for sentence in _SENTENCE.split(plain))


def _elsewhere(sentence: str, language: str) -> bool:
    hits = _hits(sentence)
    return len(sentence.split()) >= _LEAST_WORDS and max(hits.values()) >= max(_LEAST_HITS, hits[language] + 1)


def _hits(text: str) -> dict[str, int]:
    found = Counter(re.findall(r"[^\W\d_]+", text.lower()))
    return {name: sum(found[word] for word in words) for name, words in STOP_WORDS.items()}


def _units(text: str) -> list[str]:
    """The script of every word, and of every character where words are not parted."""
    found: list[str] = []
    for word in re.findall(r"[^\W\d_]+", text):
        scripts = [_script(character) for character in word]
        single = [script for script in scripts if script in _ONE_BY_ONE]
        found += single or [Counter(scripts).most_common(1)[0][0]]
    return found


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    return unicodedata.name(character, "UNKNOWN").split()[0]


def language_target(doc: Mapping[str, Any]) -> str:
    """The language, so that one without a rule is refused when the suite is loaded."""
    is_in("", doc["language"])
    return str(doc["language"])
