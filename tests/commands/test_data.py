"""`omsweep data`: what it fetches, keeps, finds missing and finds wrong."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from omsweep.cli import main
from omsweep.evaluation.data import wants
from omsweep.evaluation.settings import TAX_SUITES

PAPER = TAX_SUITES["paper"]


def rows(task: str, count: int = 10) -> list[dict[str, Any]]:
    text = (PAPER / "samples" / f"{task}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()][:count]


def data(action: str, root: Path, *tasks: str) -> int:
    return main(["data", action, "--data-root", str(root), *(f"--task={task}" for task in tasks)])


def test_fetch_writes_what_the_hub_has_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def load(hub: str, config: str | None, *, split: str, revision: str | None) -> list[dict[str, Any]]:
        asked.append((hub, config, split))
        return rows({"openai/gsm8k": "gsm8k", "cais/mmlu": "paper_mmlu"}[hub])

    monkeypatch.setattr(datasets, "load_dataset", load)
    root = tmp_path / "new" / "data"
    assert data("fetch", root, "gsm8k", "paper_mmlu") == 0
    assert asked == [("cais/mmlu", "all", "test"), ("openai/gsm8k", "main", "test")]
    assert [json.loads(line) for line in (root / "gsm8k.jsonl").read_text().splitlines()] == rows("gsm8k")
    assert data("fetch", root, "gsm8k") == 0
    assert len(asked) == 2
    assert "gsm8k: kept" in capsys.readouterr().out


def test_fetch_says_for_each_task_what_to_do_where_there_is_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert data("fetch", tmp_path, "gsm8k", "paper_math401") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "gsm8k: cannot fetch openai/gsm8k on the hub (main, test): ConnectionError: no route to the hub;" in said
    assert f"put it at {tmp_path / 'gsm8k.jsonl'}: 1,319 JSON lines with question: text" in said
    assert "paper_math401: is not on the hub." in said
    assert "0 of 2 files are in" in said
    assert list(tmp_path.iterdir()) == []


def test_fetch_refuses_a_data_set_that_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: [{"problem": "x"}])
    assert data("fetch", tmp_path, "gsm8k") == 1
    assert "is not what the task wants any more" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def published(task: str) -> list[dict[str, Any]]:
    """As many items as the published file has, the repeated ones too."""
    want = wants(PAPER)[task]
    first = rows(task, 1)[0]
    assert want.items is not None
    return [{**first, "number": max(n - want.twins, 0)} for n in range(want.items)]


def write(file: Path, found: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in found))


def test_verify_shows_counts_and_hash_and_finds_nothing_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "math401.jsonl", published("paper_math401"))
    assert data("verify", tmp_path, "paper_math401") == 0
    said = capsys.readouterr().out
    row = next(line.split() for line in said.splitlines() if line.startswith("paper_math401"))
    assert row[1:4] == ["math401.jsonl", "401", "8"]
    assert len(row[4]) == 16
    assert "1 files wanted" in said
    assert "0 things wrong" in said


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda found: found[:-1], "has 400 items, the published one 401"),
        (lambda found: [*found[:-1], found[0]], "has 9 items that repeat an earlier one, the published one 8"),
        (lambda found: [{"query": "1+1="}], "response must be text, a number"),
        (None, "is missing; it comes from math401.json"),
    ],
)
def test_verify_finds_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, expected: str
) -> None:
    if change is not None:
        write(tmp_path / "math401.jsonl", change(published("paper_math401")))
    assert data("verify", tmp_path, "paper_math401") == 1
    assert expected in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--task", "gsm9k"], "tasks must be some of"),
        (["--suite", "tiny"], "no task of the suite tiny wants a data file"),
    ],
)
def test_an_unknown_task_or_a_suite_without_data_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    assert main(["data", "verify", "--data-root", str(tmp_path), *options]) == 2
    assert expected in capsys.readouterr().err
