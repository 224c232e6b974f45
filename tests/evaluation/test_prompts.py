import json
import os

import pytest

from omsweep.evaluation.prompts import all_reward_prompts, read_reward_prompts
from omsweep.worlds.tiny.splits import split_of


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_prompts_of_a_split_in_order(prompts_file):
    prompts = read_reward_prompts(prompts_file, split="search")
    assert [prompt.item_id for prompt in prompts[:3]] == ["p1", "p3", "p5"]
    assert len(read_reward_prompts(prompts_file, split="search", limit=3)) == 3
    assert prompts[0].messages == ({"role": "user", "content": "say one two"},)
    assert prompts[0].category == "reward"


def test_chats_and_lines_without_id_or_split(tmp_path):
    turns = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]
    records = [{"messages": turns}, *({"prompt": f"say {number}"} for number in range(20))]
    path = write(tmp_path / "a.jsonl", *records)
    found = all_reward_prompts(path)
    assert len({prompt.item_id for prompt in found}) == 21
    assert all(split_of(p.item_id) == "search" for p in read_reward_prompts(path, split="search"))
    assert tuple(turns) in [prompt.messages for prompt in found]
    reordered = write(tmp_path / "b.jsonl", *records[::-1])
    again = all_reward_prompts(reordered)
    assert {p.item_id: p.messages for p in again} == {p.item_id: p.messages for p in found}


def test_turns_of_a_dialogue_are_a_cluster(tmp_path):
    first, more = {"role": "user", "content": "hi"}, [{"role": "assistant", "content": "yes"}]
    system = {"role": "system", "content": "be kind"}
    records = [
        {"messages": [system, first]},
        {"messages": [system, {"role": "user", "content": "Hi "}, *more, {"role": "user", "content": "why"}]},
        {"messages": [system, {"role": "user", "content": "alone"}]},
        {"prompt": "x", "conversation_id": 7},
        {"prompt": "y", "conversation_id": 7},
        {"id": "z", "prompt": "z", "cluster": "named"},
    ]
    found = all_reward_prompts(write(tmp_path / "a.jsonl", *records))
    clusters = [prompt.cluster for prompt in found]
    assert clusters[0] == clusters[1]
    assert clusters[2] == found[2].item_id
    assert clusters[3] == clusters[4]
    assert clusters[5] == "named"
    assert all(prompt.split == split_of(prompt.cluster) for prompt in found)


def test_a_dialogue_declared_in_two_splits_is_refused(tmp_path):
    records = [{"id": split, "prompt": "hi", "split": split} for split in ("search", "report")]
    with pytest.raises(ValueError, match=r"a\.jsonl: items of cluster .* declare splits 'search' and 'report'"):
        all_reward_prompts(write(tmp_path / "a.jsonl", *records))


def test_nothing_is_scored_on_confirm(tmp_path):
    path = write(tmp_path / "a.jsonl", {"prompt": "x", "split": "confirm"})
    assert [prompt.split for prompt in all_reward_prompts(path)] == ["confirm"]
    with pytest.raises(ValueError, match=r"split must be one of \['search', 'report'\], got 'confirm'"):
        read_reward_prompts(path, split="confirm")


def test_a_changed_file_is_read_again(tmp_path):
    path = write(tmp_path / "a.jsonl", {"id": "a", "split": "search", "prompt": "one"})
    assert len(read_reward_prompts(path, split="search")) == 1
    write(path, *({"id": f"{n}", "split": "search", "prompt": "one"} for n in range(2)))
    assert len(read_reward_prompts(path, split="search")) == 2


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"id": "a", "text": "x"}], r"a\.jsonl:1: needs prompt .* got \['id', 'text'\]"),
        ([{"messages": [{"content": "x"}]}], r"a\.jsonl:1: turn 0 needs role and content, text each, got {'content'"),
        ([{"messages": [3]}], "turn 0 needs role and content, text each, got 3"),
        ([{"messages": [{"role": "user", "content": [{"type": "text"}]}]}], "turn 0 needs role and content, text each"),
        ([{"messages": [{"role": "assistant", "content": "x"}]}], "the last turn must be the user's and say something"),
        ([{"prompt": ""}], "needs prompt"),
        ([{"prompt": " "}], "needs prompt"),
        ([{"prompt": "\ud800"}], r"a\.jsonl:1: turn 0 holds half of a surrogate pair, which is no character"),
        ([["x"]], r"a\.jsonl:1: must be an object with prompt or messages, got .*x"),
        ([{"id": 1, "prompt": "x"}, {"id": 1, "prompt": "y"}], r"a\.jsonl:2: id '1' was used in line 1"),
        ([{"id": "a", "split": "report", "prompt": "x"}], "no prompt in split 'search', 1 in all"),
    ],
)
def test_mistakes_name_file_and_line(tmp_path, records, message):
    with pytest.raises(ValueError, match=message):
        read_reward_prompts(write(tmp_path / "a.jsonl", *records), split="search")


def test_a_line_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "x"}\n{"prompt": \n')
    with pytest.raises(ValueError, match=r"a\.jsonl: line 2 is not JSON"):
        read_reward_prompts(path, split="search")


def test_a_replaced_file_is_read_again_whatever_its_time(tmp_path):
    path = write(tmp_path / "a.jsonl", {"prompt": "one", "split": "search"})
    os.utime(path, (0, 0))
    assert all_reward_prompts(path)[0].messages[0]["content"] == "one"
    write(path, {"prompt": "two", "split": "search"})
    os.utime(path, (0, 0))
    assert all_reward_prompts(path)[0].messages[0]["content"] == "two"


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('\ufeff{"prompt": "x"}\n')
    assert len(all_reward_prompts(path)) == 1
    path.write_bytes(b'{"prompt": "\xe9"}')
    with pytest.raises(ValueError, match=r"a\.jsonl: is not text in UTF-8"):
        all_reward_prompts(path)
