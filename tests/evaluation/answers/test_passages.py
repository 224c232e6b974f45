"""CoQA's scores: lm-eval's own functions, which get the module that transformers no longer has, say the same."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import lm_eval
import pytest

from omsweep.evaluation.answers.passages import coqa, coqa_answers, coqa_question, exact, f1


def overlap(gold: str, said: str) -> float:
    """F1 over words by pairing them off one by one."""
    there, here = normal(gold).split(), normal(said).split()
    left, same = list(here), 0
    for word in there:
        if word in left:
            left.remove(word)
            same += 1
    if not there or not here:
        return float(there == here)
    precision, recall = same / len(here), same / len(there)
    return 0.0 if not same else 2 * precision * recall / (precision + recall)


def normal(text: str) -> str:
    kept = "".join(c for c in text.lower() if c not in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    return " ".join(word for word in kept.split() if word not in ("a", "an", "the"))


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Any:
    """lm-eval's functions of its task `coqa`."""
    metrics = ModuleType("transformers.data.metrics.squad_metrics")
    metrics.compute_exact = lambda gold, said: int(normal(gold) == normal(said))  # type: ignore[attr-defined]
    metrics.compute_f1 = overlap  # type: ignore[attr-defined]
    metrics.squad_metrics = metrics  # type: ignore[attr-defined]
    for name in ("transformers.data.metrics", metrics.__name__):
        monkeypatch.setitem(sys.modules, name, metrics)
    spec = spec_from_file_location("coqa_utils", Path(lm_eval.__file__).parent / "tasks" / "coqa" / "utils.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def item(*golds: str) -> dict[str, Any]:
    others = {str(n): {"input_text": ["x", gold]} for n, gold in enumerate(golds[1:])}
    return {
        "story": "A story.",
        "questions": {"input_text": ["One?", "Two?"]},
        "answers": {"input_text": ["one", golds[0]]},
        "additional_answers": others or None,
    }


ITEMS = [
    item("the island"),
    item("the island", "an island", "Island"),
    item("On Sundays.", "Sunday", "each Sunday morning", "on sundays."),
    item("yes", "Yes"),
    item("forty oaks", "40", "oaks, forty of them"),
    item("It's the mayor's", "the mayor", "Mayor Anna Lind"),
]
ANSWERS = [
    "The island.",
    "on Sunday\nQ: next",
    "Yes, it is",
    "forty oaks",
    "40",
    "the mayor",
    "",
    "a",
    "the Island, I think",
]


def test_lm_eval_says_the_same(official: Any) -> None:
    pairs = [(doc, answer) for doc in ITEMS for answer in ANSWERS]
    assert len(pairs) == 54
    for doc, answer in pairs:
        assert coqa(doc, [answer]) == pytest.approx(official.process_results(doc, [answer]))
        assert coqa_question(doc) == official.doc_to_text(doc)
        # lm-eval's are in the order of a set
        assert sorted(coqa_answers(doc)) == sorted(official.doc_to_target(doc))


def test_words_count_and_articles_do_not() -> None:
    assert (exact("The mill.", "a mill"), exact("mill", "mills")) == (1, 0)
    assert f1("two of the arches", "the arches, two") == pytest.approx(0.8)
    assert (f1("the", "a"), f1("the", "x")) == (1, 0)
