"""A task that cannot be scored is refused before anything is: with suite, task, document and key."""

import logging
import os
from pathlib import Path
from typing import Any

import lm_eval.utils
import pytest
from jinja2.exceptions import SecurityError

from omsweep.evaluation.suite import load_suite
from omsweep.evaluation.tasks import use_sandbox
from tests.broken.suites import CHOICES, ROWS, WORDS, write_suite


def words(**changes: Any) -> dict[str, Any]:
    return {"words": {**WORDS, **changes}}


def choices(**changes: Any) -> dict[str, Any]:
    return {"choices": {**CHOICES, **changes}}


def rows(number: int, **changes: Any) -> dict[str, Any]:
    of_words = [row | (changes if n == number else {}) for n, row in enumerate(ROWS["words"])]
    return {"rows": {**ROWS, "words": of_words}}


FIELDS = "the document has the fields id, split, prompt, answer"
EXACT = {"aggregation": "mean", "higher_is_better": True}
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": (
        words(doc_to_text="{{question}} ?"),
        rf"task 'words', document 0 \(id 'w0'\): doc_to_text: UndefinedError: 'question' is undefined; {FIELDS}",
    ),
    "unknown target": (words(doc_to_target="{{ans}}"), r"document 0 \(id 'w0'\): doc_to_target: UndefinedError: 'ans'"),
    "template": (
        words(doc_to_text="{{prompt"),
        r"document 0 \(id 'w0'\): doc_to_text: TemplateSyntaxError: unexpected",
    ),
    "code in a template": (words(doc_to_text="{{''.__class__.__mro__}}"), "doc_to_text: SecurityError: access to attr"),
    "a field that is missing in one": (
        rows(4, prompt=None),
        r"document 4 \(id 'w4'\): doc_to_text: prompt is null, or",
    ),
    "metric": (
        words(metric_list=[{"metric": "exact_mach", **EXACT}]),
        "metric_list: unknown metric 'exact_mach'; is 'exact_match' meant",
    ),
    "metric that is no share": (
        words(metric_list=[{"metric": "perplexity", **EXACT}]),
        r"'perplexity' must be in \[0, 1",
    ),
    "filter": (
        words(filter_list=[{"name": "a", "filter": [{"function": "remove_space"}]}]),
        "is 'remove_whitespace' mea",
    ),
    "key": (words(doc_to_txt="x"), "task 'words': unknown key 'doc_to_txt'; is 'doc_to_text' or"),
    "split": (words(test_split="tst"), "task 'words': test_split: data_files has test, got 'tst'"),
    "no data": (
        words(dataset_kwargs={"data_files": {"test": "data/x.jsonl"}}),
        r"data_files: .*data/x\.jsonl does not ex",
    ),
    "empty data": ({"rows": {**ROWS, "words": ""}}, r"task 'words': data_files: .*/data/words\.jsonl is empty"),
    "data of nothing": (
        {"rows": {**ROWS, "words": "\n"}},
        "task 'words', ValueError: Instruction \"test\" corresponds to no",
    ),
    "no JSON": (
        {"rows": {**ROWS, "words": "{}\n{"}},
        r"task 'words', DatasetGenerationError: .*JSON parse error: .* in row",
    ),
    "data elsewhere": (
        words(dataset_kwargs={"data_files": {"test": __file__}}),
        "is outside of the suite's folder; put it",
    ),
    "a number for a name": (words(task=3), "names of tasks, groups and tags must be text: TypeError"),
    "a category that is no text": (
        words(metadata={"category": True}),
        "metadata.category must be text, got True: YAML",
    ),
    "answers that are none": (
        choices(doc_to_target="{{1 + label}}"),
        r"\(id 'c1'\): doc_to_target: 2 is none of the",
    ),
    "stop text": (words(generation_kwargs={"until": 3}), "its until text or a list of it, got {'until': 3}"),
    "invalid YAML": (
        {"words": "task: [\n"},
        r"words\.yaml declares a task that lm-eval did not take: invalid YAML: .* line 2",
    ),
    "a name twice": (
        choices(task="words"),
        r"words\.yaml declares a task that lm-eval did not take: a name that another",
    ),
}


@pytest.mark.parametrize(("changes", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_names_suite_task_document_and_key(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    logging.getLogger("datasets").setLevel(logging.CRITICAL)
    suite = write_suite(tmp_path / "suite", **changes)
    with pytest.raises(ValueError, match=f"^tax suite {suite}: .*{expected}"):
        load_suite(suite)


def test_a_template_is_compiled_once_for_all_documents_and_reaches_no_python() -> None:
    use_sandbox()
    template = lm_eval.utils.env.from_string("{{ question }}")
    assert lm_eval.utils.env.from_string("{{ question }}") is template
    with pytest.raises(SecurityError):
        lm_eval.utils.env.from_string("{{ ''.__class__.mro() }}").render()


def test_a_suite_of_links_is_one(tmp_path: Path) -> None:
    kept = write_suite(tmp_path / "kept")
    by_file, by_folder = tmp_path / "by_file", tmp_path / "by_folder"
    by_file.mkdir()
    for name in ("words.yaml", "choices.yaml", "data"):
        (by_file / name).symlink_to(kept / name)
    (by_folder / "more").mkdir(parents=True)
    (by_folder / "more" / "tasks").symlink_to(kept)
    (tmp_path / "itself").symlink_to(kept)
    for suite in (by_file, by_folder, tmp_path / "itself"):
        assert sorted(load_suite(suite).tasks) == ["choices", "words"]


@pytest.mark.parametrize("linked", [False, True])
def test_replaced_data_are_read_whatever_their_time(tmp_path: Path, linked: bool) -> None:
    suite = write_suite(tmp_path / "suite")
    data = suite / "data" / "words.jsonl"
    if linked:
        (suite / "data").rename(tmp_path / "elsewhere")
        (suite / "data").symlink_to(tmp_path / "elsewhere")
    os.utime(data, (0, 0))
    assert [item.item_id for item in load_suite(suite).items["words"]] == [f"w{n}" for n in range(6)]
    data.write_text(data.read_text().replace('"id": "w', '"id": "v'))
    os.utime(data, (0, 0))
    assert [item.item_id for item in load_suite(suite).items["words"]] == [f"v{n}" for n in range(6)]


def test_data_may_be_named_by_a_pattern(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite", **words(dataset_kwargs={"data_files": {"test": "data/w*.jsonl"}}))
    assert len(load_suite(suite).items["words"]) == 6
