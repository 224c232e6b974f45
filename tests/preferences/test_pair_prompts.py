"""Prompts of files and of the embedded world: ids, repeats, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from omsweep.preferences.prompts import prompts_hash, read_prompts
from omsweep.worlds.tiny.items import reward_prompts
from omsweep.worlds.tiny.splits import partition_of

CHAT = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]


def written(path: Path, *records: Any) -> str:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return str(path)


def test_text_is_one_user_turn_and_ids_are_kept_or_made(tmp_path: Path) -> None:
    source = written(tmp_path / "p.jsonl", {"prompt": "a\u2028b", "id": 7, "other": 1}, {"prompt": CHAT})
    prompts, repeated = read_prompts(source, limit=None, seed=0)
    assert [prompt.messages for prompt in prompts] == [[{"role": "user", "content": "a\u2028b"}], CHAT]
    assert prompts[0].id == "7"
    assert prompts[1].id.startswith("prompt-")
    assert repeated == 0


def test_made_ids_depend_on_the_chat_alone(tmp_path: Path) -> None:
    one = written(tmp_path / "one.jsonl", {"prompt": "x"}, {"prompt": "y"})
    other = written(tmp_path / "other.jsonl", {"prompt": [{"content": "y", "role": "user"}], "n": 1}, {"prompt": "x"})
    first, second = (read_prompts(source, limit=None, seed=0)[0] for source in (one, other))
    assert [prompt.id for prompt in first] == [prompt.id for prompt in reversed(second)]
    assert prompts_hash(first) == prompts_hash(list(reversed(second))) != prompts_hash(second)


def test_the_same_chat_twice_is_one_prompt(tmp_path: Path) -> None:
    records = [{"prompt": "x", "id": "a"}, {"prompt": "x", "id": "b"}, {"prompt": "x", "id": "a"}, {"prompt": "y"}]
    prompts, repeated = read_prompts(written(tmp_path / "p.jsonl", *records), limit=None, seed=0)
    assert ([prompt.id for prompt in prompts][:1], len(prompts), repeated) == (["a"], 2, 2)


def test_parquet_holds_the_same_as_jsonl(tmp_path: Path) -> None:
    records = [{"id": f"r{number}", "prompt": [{"role": "user", "content": f"q {number}"}]} for number in range(3)]
    parquet.write_table(pyarrow.Table.from_pylist([{**record, "x": 1.5} for record in records]), tmp_path / "p.parquet")
    source = written(tmp_path / "p.jsonl", *records)
    assert read_prompts(str(tmp_path / "p.parquet"), limit=2, seed=0)[0] == read_prompts(source, limit=2, seed=0)[0]


def test_embedded_prompts_are_open_training_prompts() -> None:
    prompts, repeated = read_prompts("tiny", limit=50, seed=0)
    assert (len(prompts), repeated) == (50, 0)
    assert all(partition_of(prompt.id) == "train" and prompt.id.startswith("open-") for prompt in prompts)
    assert not {prompt.id for prompt in prompts} & {item["id"] for item in reward_prompts()}
    assert read_prompts("tiny", limit=50, seed=0)[0] == prompts != read_prompts("tiny", limit=50, seed=1)[0]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "holds no prompts"),
        ([{"text": "x"}], "record 0 needs prompt: text or a list of messages with role and content, got None"),
        ([{"prompt": []}], "record 0 needs prompt"),
        ([{"prompt": "x"}, {"prompt": [{"role": "user"}]}], "record 1 needs prompt"),
        ([{"prompt": " "}], "record 0 must not end with an empty turn"),
        ([{"prompt": [*CHAT, {"role": "assistant", "content": "hi"}]}], "must not end with the assistant's turn"),
        ([{"prompt": "x", "id": 1}, {"prompt": "y", "id": "1"}], "record 1 has id '1', which another prompt has"),
        (["x"], "cannot read prompts .* every record must be an object"),
    ],
)
def test_what_is_refused(tmp_path: Path, records: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_prompts(written(tmp_path / "p.jsonl", *records), limit=None, seed=0)


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"prompt": "x"}\n{oops\n')
    (tmp_path / "bad.parquet").write_text("no")
    (tmp_path / "half.jsonl").write_text(r'{"prompt": "\ud800"}')
    for source, message in (
        (str(tmp_path / "half.jsonl"), "record 0 needs prompt.*half of a surrogate pair"),
        (str(tmp_path / "bad.jsonl"), "line 2 is not JSON"),
        (str(tmp_path / "bad.parquet"), "cannot read prompts"),
        (str(tmp_path / "none.jsonl"), "prompts file .* does not exist"),
        (
            "tinny",
            "prompts must be one of tiny, .*, or a file that ends with one of .jsonl, .json, .*, got 'tinny'",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            read_prompts(source, limit=None, seed=0)
