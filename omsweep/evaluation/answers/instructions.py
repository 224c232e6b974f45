"""IFEval by lm-eval's checkers, which fetch a sentence splitter when they are imported: here they get one."""

from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

_KNOWN = """
mr mrs ms dr prof sr jr st ft gen col lt adm rep sen vs v a.m p.m p inc corp co ltd bros u.s u.k u.n u.s.a d.c
l.a n.y ph.d jan feb aug sep sept oct nov dec tues wed fri messrs yr ave ct pa ariz calif colo conn wash mich
minn tenn okla fla ga ill ky kan wis va ore reps sw n.c n.j n.h n.m w.va u.s.s.r m.b.a
"""
ABBREVIATIONS = frozenset(_KNOWN.split())
"""English abbreviations behind which Punkt's English model ends no sentence; a selection."""


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """Whether all instructions of an item are followed, strictly and loosely, as lm-eval's `ifeval` says it.

    Source: arXiv:2311.07911. Languages are detected with a fixed seed.
    """
    found = _checkers().process_results(doc, results)
    return {name: float(found[name]) for name in ("prompt_level_strict_acc", "prompt_level_loose_acc")}


@cache
def _checkers() -> ModuleType:
    """lm-eval's module with our splitter in it; nothing is downloaded."""
    import langdetect
    import nltk

    looked_up = nltk.data.find
    nltk.data.find = lambda *_, **__: None  # what is asked for at import is not needed
    try:
        from lm_eval.tasks.ifeval import instructions_util, utils
    finally:
        nltk.data.find = looked_up
    langdetect.DetectorFactory.seed = 0
    instructions_util._get_sentence_tokenizer = _splitter
    instructions_util.nltk = SimpleNamespace(tokenize=nltk.tokenize, data=nltk.data, word_tokenize=word_tokens)
    return utils


@cache
def _splitter() -> Any:
    """Punkt (Kiss and Strunk 2006) with `ABBREVIATIONS` in place of what it learns from a corpus."""
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    known = PunktParameters()
    known.abbrev_types = set(ABBREVIATIONS)
    return PunktSentenceTokenizer(known)


def sentences(text: str) -> list[str]:
    """The sentences of an English text."""
    found: list[str] = _splitter().tokenize(text)
    return found


def word_tokens(text: str) -> list[str]:
    """The tokens of a text as nltk's `word_tokenize` makes them of its sentences."""
    from nltk.tokenize.destructive import NLTKWordTokenizer

    tokenizer = NLTKWordTokenizer()
    return [token for sentence in sentences(text) for token in tokenizer.tokenize(sentence)]
