"""Samples on disk: cut anywhere, gone on with, the same bytes; pairs and counts made from them."""

import fcntl
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from omsweep.preferences.collection import (
    CHUNK_PROMPTS,
    PairFiles,
    check_same,
    complete_prompts,
    opened_samples,
    previous_record,
    sample_rest,
    sampled,
)
from omsweep.preferences.pairing import Answer
from omsweep.preferences.pairs_file import write_pairs
from omsweep.preferences.prompts import Prompt
from omsweep.preferences.request import PairSettings

PROMPTS = [Prompt(id=f"p{n}", messages=[{"role": "user", "content": f"say {n}"}]) for n in range(2 * CHUNK_PROMPTS + 5)]


def answer(prompts: Sequence[Prompt]) -> list[list[Answer]]:
    """Two answers, the longer one better, except that every tenth prompt gets the same text twice."""
    made = []
    for prompt in prompts:
        number = int(prompt.id[1:])
        texts = ("é\u2028 same",) * 2 if number % 10 == 0 else (f"{number} .", f"{number} more .")
        made.append([Answer(text=t, score=float(len(t)), tokens=len(t), finished=number % 7 > 0) for t in texts])
    return made


def collect(files: PairFiles, prompts: Sequence[Prompt] = PROMPTS) -> tuple[list[int], dict]:
    counted: list[int] = []
    with opened_samples(files) as stream:
        done = complete_prompts(stream, prompts)
        sample_rest(stream, prompts, answer, done=done, count=counted.append)
        return counted, write_pairs(sampled(stream), files.pairs, PairSettings(samples=2))


@pytest.fixture
def files(tmp_path: Path) -> PairFiles:
    return PairFiles(tmp_path / "pairs.jsonl")


def test_files_lie_beside_each_other(files: PairFiles) -> None:
    assert (files.samples.name, files.record.name) == ("pairs.samples.jsonl", "pairs.json")
    with pytest.raises(ValueError, match=r"output must end with \.jsonl, got 'pairs\.json'"):
        PairFiles(Path("pairs.json"))
    with pytest.raises(ValueError, match="output's folder .* does not exist"):
        PairFiles(files.pairs.parent / "none" / "pairs.jsonl")


def test_every_answer_is_kept_and_pairs_and_counts_follow(files: PairFiles) -> None:
    counted, summary = collect(files)
    assert counted == [CHUNK_PROMPTS, CHUNK_PROMPTS, 5]
    samples = [json.loads(line) for line in files.samples.read_bytes().splitlines()]
    assert [record["id"] for record in samples] == [prompt.id for prompt in PROMPTS]
    pairs = [json.loads(line) for line in files.pairs.read_bytes().splitlines()]
    assert [pair["id"] for pair in pairs] == [prompt.id for prompt in PROMPTS if int(prompt.id[1:]) % 10]
    assert all(pair["margin"] == pair["score_chosen"] - pair["score_rejected"] == 5 for pair in pairs)
    equal = len(PROMPTS) - len(pairs)
    assert (summary["pairs"], summary["prompts"], summary["answers"]) == (len(pairs), len(PROMPTS), 2 * len(PROMPTS))
    assert (summary["answers_left_out"], summary["ties"], summary["chosen_longer_share"]) == (equal, 0, 1.0)
    assert summary["margin"] == {"mean": 5, "median": 5, "min": 5, "max": 5}
    assert summary["tokens_chosen"]["mean"] == summary["tokens_rejected"]["mean"] + 5
    assert summary["answers_unfinished"] == 2 * len(range(0, len(PROMPTS), 7))


def test_cut_anywhere_it_ends_in_the_same_bytes(files: PairFiles, tmp_path: Path) -> None:
    collect(files)
    whole, pairs = files.samples.read_bytes(), files.pairs.read_bytes()
    again = PairFiles(tmp_path / "again.jsonl")
    for size in range(0, len(whole), 97):
        again.samples.write_bytes(whole[:size])
        counted, _ = collect(again)
        lines = whole[:size].count(b"\n")
        assert sum(counted) == len(PROMPTS) - lines // CHUNK_PROMPTS * CHUNK_PROMPTS
        assert again.samples.read_bytes() == whole
        assert again.pairs.read_bytes() == pairs
    assert collect(again)[0] == []


def test_a_whole_line_of_something_else_is_not_thrown_away(files: PairFiles) -> None:
    collect(files)
    for line in (b'{"id": "other"}\n', b"\x00\x00\n", b"7\n"):
        files.samples.write_bytes(line)
        with pytest.raises(ValueError, match="line 1 is not the sample of prompt 1"):
            collect(files)
        assert files.samples.read_bytes() == line
    collect(PairFiles(files.pairs.with_name("more.jsonl")))
    with pytest.raises(ValueError, match="line 4 is not the sample of prompt 4"):
        collect(PairFiles(files.pairs.with_name("more.jsonl")), PROMPTS[:3])


def test_two_processes_do_not_write_one_file(files: PairFiles) -> None:
    with files.samples.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="is being written by another process"):
            collect(files)


def test_files_of_others_are_refused(files: PairFiles) -> None:
    assert previous_record(files) == {}
    files.pairs.write_text("x\n")
    with pytest.raises(ValueError, match=r"pairs\.jsonl exists without its record pairs\.json"):
        previous_record(files)
    files.record.write_text('{"mine": 1}')
    with pytest.raises(ValueError, match="is not a record of omsweep prefs"):
        previous_record(files)
    record = {"request": {}, "sources": {}, "sessions": []}
    files.record.write_text(json.dumps(record))
    assert previous_record(files) == record
    files.pairs.unlink()
    files.samples.touch()
    assert previous_record(files) == {}  # it died before it sampled anything


def test_other_arguments_are_named(files: PairFiles) -> None:
    check_same({"samples": 4}, {"samples": 4}, files)
    with pytest.raises(ValueError, match=r"was begun with other arguments \(samples: 4 there, 2 now; seed: 0 there, 1"):
        check_same({"samples": 4, "seed": 0}, {"samples": 2, "seed": 1}, files)
