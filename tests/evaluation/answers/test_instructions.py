"""IFEval's checkers get sentences and words without a download, as nltk's trained splitter gives them.

`official_sentences.jsonl` holds what nltk 3.10 made of each text with its `punkt_tab` for English.
"""

import json
from pathlib import Path

import pytest

from omsweep.evaluation.answers.instructions import process_results, sentences, word_tokens

pytest.importorskip("nltk", exc_type=ImportError)
OFFICIAL = [json.loads(line) for line in (Path(__file__).parent / "official_sentences.jsonl").read_text().splitlines()]


def test_sentences_and_words_agree_with_the_trained_splitter() -> None:
    assert len(OFFICIAL) >= 60
    counts = [(len(sentences(one["text"])), sum(map(str.isupper, word_tokens(one["text"])))) for one in OFFICIAL]
    others = [
        one["text"]
        for one, found in zip(OFFICIAL, counts, strict=True)
        if found != (one["sentences"], one["capital_words"])
    ]
    assert others == ["J. R. Smith wrote it. A. B. Jones read it.", "OK. FINE. BYE. Now go home."]


def test_lm_evals_checkers_use_them_and_download_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("langdetect", "immutabledict"):
        pytest.importorskip(module)
    import nltk

    monkeypatch.setattr(nltk, "download", lambda *_: pytest.fail("a download"))
    doc = {"key": 1, "prompt": "?", "instruction_id_list": ["length_constraints:number_sentences"]}
    doc["kwargs"] = [{"num_sentences": 2, "relation": "at least", "num_words": None}]
    right = {"prompt_level_strict_acc": 1.0, "prompt_level_loose_acc": 1.0}
    assert process_results(doc, ["Dr. Adams left. He was late."]) == right
    assert process_results(doc, ["Dr. Adams was late."]) == dict.fromkeys(right, 0.0)
    doc |= {"instruction_id_list": ["change_case:capital_word_frequency"]}
    doc["kwargs"] = [{"capital_frequency": 2, "capital_relation": "at least"}]
    assert process_results(doc, ["We WALK and RUN."]) == right
