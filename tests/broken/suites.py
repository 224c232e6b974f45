"""Folders of lm-eval tasks that are broken in one place."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.broken.mutations import as_json, mutated, torn

WORDS: dict[str, Any] = {
    "task": "words",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "data/words.jsonl"}},
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{prompt}} ?",
    "doc_to_target": "{{answer}}",
    "num_fewshot": 0,
    "generation_kwargs": {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": 4},
    "filter_list": [{"name": "stripped", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 1.0, "category": "arith"},
}
CHOICES: dict[str, Any] = {
    **{key: WORDS[key] for key in ("dataset_path", "test_split", "num_fewshot")},
    "task": "choices",
    "tag": "choice",
    "dataset_kwargs": {"data_files": {"test": "data/choices.jsonl"}},
    "output_type": "multiple_choice",
    "doc_to_text": "prompt",
    "doc_to_choice": "{{options}}",
    "doc_to_target": "{{label}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
SPLITS = ("search", "report")
ROWS: dict[str, list[dict[str, Any]]] = {
    "words": [
        {"id": f"w{n}", "split": SPLITS[n % 2], "prompt": f"what is {n} plus one", "answer": str(n + 1)}
        for n in range(6)
    ],
    "choices": [
        {"id": f"c{n}", "split": SPLITS[n % 2], "prompt": f"is {n} even", "options": ["yes", "no"], "label": n % 2}
        for n in range(6)
    ],
}


def write_suite(folder: Path, *, words: Any = WORDS, choices: Any = CHOICES, rows: Any = ROWS) -> Path:
    """A suite of two tasks; what is text already is written as it is."""
    (folder / "data").mkdir(parents=True)
    for name, config in (("words", words), ("choices", choices)):
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        (folder / f"{name}.yaml").write_text(text, newline="")
        data = rows[name]
        lines = data if isinstance(data, str) else "".join(f"{as_json(row)}\n" for row in data)
        (folder / "data" / f"{name}.jsonl").write_text(lines, newline="")
    return folder


def broken_suites(folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Suites below a folder."""
    random = Random(seed)
    for number in range(count):
        kind = random.choice(["config", "config", "config text", "rows", "rows", "rows text"])
        name, config = random.choice([("words", WORDS), ("choices", CHOICES)])
        rows = ROWS[name]
        changed: dict[str, Any] = {}
        if kind.startswith("config"):
            text = yaml.safe_dump(config, sort_keys=False)
            changed[name] = torn(text, random) if kind == "config text" else mutated(config, random)
        else:
            text = "".join(f"{as_json(row)}\n" for row in rows)
            changed["rows"] = {**ROWS, name: torn(text, random) if kind == "rows text" else mutated(rows, random)}
            if not isinstance(changed["rows"][name], str | list):
                changed["rows"][name] = as_json(changed["rows"][name])
        yield write_suite(folder / f"suite{number}", **changed)
