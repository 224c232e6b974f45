"""Data files of a suite that lie outside of it: which are wanted, which are missing, what tells one from another."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from omsweep.evaluation.data import Wanted, check_data, data_rows, look, wants
from omsweep.evaluation.settings import TAX_SUITES, EvaluateSettings
from omsweep.evaluation.suite import load_suite
from tests.broken.suites import ROWS, WORDS, write_suite

GSM8K = Path(__file__).parents[3] / "shared" / "data" / "gsm8k_test.jsonl.gz"
DATA = {"file": "w.jsonl", "fields": {"prompt": "text", "answer": "text, a word"}, "licence": "MIT", "items": 6}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A suite with one task that wants data and one that has its own."""
    words = {key: value for key, value in WORDS.items() if not key.startswith("dataset")}
    words |= {"metadata": {"category": "words", "data": DATA}}
    return write_suite(tmp_path / "suite", words=words)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the data."""
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "w.jsonl", ROWS["words"])
    return folder


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def settings(folder: Path, **given: Any) -> EvaluateSettings:
    return EvaluateSettings(tax=str(folder), **given)


def test_a_task_reads_its_file_as_it_is_or_compressed(folder: Path, root: Path) -> None:
    plain = load_suite(settings(folder, data_root=str(root)).suite)
    assert [item.item_id for item in plain.items["words"]] == [row["id"] for row in ROWS["words"]]
    assert {item.category for item in plain.items["words"]} == {"words"}
    (root / "w.jsonl.gz").write_bytes(gzip.compress((root / "w.jsonl").read_bytes()))
    (root / "w.jsonl").unlink()
    compressed = load_suite(settings(folder, data_root=str(root)).suite)
    assert compressed.items == plain.items
    named = settings(folder, data={"words": str(root / "w.jsonl.gz")})
    assert load_suite(named.suite).items == plain.items


def test_another_file_is_another_suite_whatever_its_time(folder: Path, root: Path, tmp_path: Path) -> None:
    one = settings(folder, data_root=str(root))
    before, first = one.suite.key(), load_suite(one.suite)
    assert load_suite(one.suite) is first
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((root / "w.jsonl").read_bytes())
    assert settings(folder, data={"words": str(copy)}).suite.key() == before
    stamp = (root / "w.jsonl").stat()
    (root / "w.jsonl").unlink()
    write(root / "w.jsonl", [{**row, "id": f"v{n}"} for n, row in enumerate(ROWS["words"])])
    os.utime(root / "w.jsonl", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert one.suite.key() != before
    assert [item.item_id for item in load_suite(one.suite).items["words"]] == [f"v{n}" for n in range(6)]


def test_tasks_may_be_left_out_and_their_data_with_them(folder: Path, root: Path) -> None:
    kept = settings(folder, tasks=["choices"]).suite
    assert list(load_suite(kept).tasks) == ["choices"]
    assert kept.key() != settings(folder, data_root=str(root)).suite.key()
    assert sorted(load_suite(settings(folder, data_root=str(root)).suite).tasks) == ["choices", "words"]


def test_a_tasks_own_limit_counts_beside_the_settings(folder: Path, root: Path) -> None:
    def chosen(given: Any, limit: int | None) -> int:
        task = yaml.safe_load((folder / "words.yaml").read_text())
        task["metadata"] |= {"limit": given}
        (folder / "words.yaml").write_text(yaml.safe_dump(task))
        return len(load_suite(settings(folder, data_root=str(root)).suite).chosen("search", limit)["words"])

    every = chosen(None, None)
    assert every > 1
    assert (chosen(1, None), chosen(every + 1, None), chosen(every + 1, 1)) == (1, every, 1)
    assert (chosen({"suite": 1}, None), chosen({"other": 1}, None)) == (1, every)
    with pytest.raises(ValueError, match="metadata.limit must be a number of items, or one by suite, got 0"):
        chosen(0, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {},
            r"(?s)^data_root must be given, the folder of .*1 are missing:\n  words: w.jsonl\n    6 JSON",
        ),
        (
            {},
            r"(?s)with prompt: text; answer: text, a word\n    licence MIT; from the user\n.*tasks: .*others: choices",
        ),
        ({"data_root": "nowhere"}, "^data_root nowhere must be the folder of the data files"),
        ({"data": {"words": "no.jsonl"}}, "words: no.jsonl"),
        ({"data": {"wards": "no.jsonl"}}, r"^data takes words; got unknown \['wards'\]"),
        ({"tasks": ["wards"]}, r"^tasks must be some of choices, words; got unknown wards"),
        ({"tasks": []}, r"^tasks must be some of choices, words; got none"),
        ({"data_root": "samples"}, "words: samples/words.jsonl"),
    ],
)
def test_what_is_missing_or_unknown_is_said(folder: Path, given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        settings(folder, **given)


def test_a_suite_that_wants_nothing_takes_no_root() -> None:
    with pytest.raises(ValueError, match="^data_root is of no use here: no task of the suite tiny reads a file there"):
        EvaluateSettings(tax="tiny", data_root="samples")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"prompt": "a"}], "item 1: answer must be text, a word, got only prompt"),
        ([{"prompt": "a", "answer": "b"}, {"prompt": "a", "answer": 3}], "item 2: answer must be text, a word, got 3"),
        ([], "holds no item; wanted: 6 JSON lines with prompt: text; answer: text, a word"),
    ],
)
def test_a_file_that_is_not_what_the_task_wants_is_refused(
    folder: Path, root: Path, rows: list[dict[str, Any]], expected: str
) -> None:
    write(root / "w.jsonl", rows)
    one = settings(folder, data_root=str(root))
    with pytest.raises(ValueError, match=f"(?s)^data files of the suite .*  words: .*{expected}"):
        check_data(one.suite)
    with pytest.raises(ValueError, match=expected):
        load_suite(one.suite)


def test_a_field_that_changes_its_kind_is_named_with_task_and_file(folder: Path, root: Path) -> None:
    write(root / "w.jsonl", [{**row, "more": [3, "x"][n % 2]} for n, row in enumerate(ROWS["words"])])
    with pytest.raises(ValueError, match=r"task 'words': .*w\.jsonl Arrow"):
        load_suite(settings(folder, data_root=str(root)).suite)


@pytest.mark.skipif(not GSM8K.is_file(), reason=f"{GSM8K} is not there")
def test_the_published_gsm8k_is_what_its_task_wants() -> None:
    found = look(GSM8K, wants(TAX_SUITES["paper"])["gsm8k"])
    assert (found.items, found.twins, found.problems) == (1319, 0, ())


def test_numbers_lists_and_objects_are_told_apart(tmp_path: Path) -> None:
    want = Wanted(file="x", fields={"n": "number", "l": "list of texts", "o": "object with a"}, licence="MIT")
    write(tmp_path / "x", [{"n": 1.5, "l": [], "o": {"a": 1}}] * 2)
    assert (look(tmp_path / "x", want).items, look(tmp_path / "x", want).twins) == (2, 1)
    for wrong in ({"n": True}, {"l": {}}, {"o": []}):
        write(tmp_path / "x", [{"n": 1, "l": [], "o": {}, **wrong}])
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            data_rows(tmp_path / "x", want)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"file": "w.jsonl"}, r"task 'words': metadata.data takes \['file', 'fields', 'licence', 'hub'"),
        ({**DATA, "colour": 1}, "metadata.data takes"),
        ({**DATA, "fields": {"prompt": "a text"}}, "describes each field, beginning with"),
    ],
)
def test_a_task_that_says_it_wrongly_is_named(folder: Path, data: dict[str, Any], expected: str) -> None:
    task = yaml.safe_load((folder / "words.yaml").read_text())
    (folder / "words.yaml").write_text(yaml.safe_dump({**task, "metadata": {"data": data}}))
    with pytest.raises(ValueError, match=expected):
        wants(folder)
