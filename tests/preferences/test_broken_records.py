"""Whatever is wrong with records: each is taken or counted under a reason, or the data are refused in our own words."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from omsweep.preferences.files import read_rows
from omsweep.preferences.reading import Taken, read_records
from omsweep.preferences.turns import ANSWERED, REMEDIES
from tests.broken.records import GOOD, broken, broken_file


def read(rows: list[dict[str, Any]], rendering: str = "chat") -> Taken | None:
    """What is taken; None where the data are refused, naming the data and a record."""
    try:
        return read_records(rows, source="preferences mine", rendering=rendering)
    except ValueError as error:
        refusal = error
    assert type(refusal) is ValueError
    assert str(refusal).startswith("preferences mine: record ")
    return None


def content(taken: Taken) -> Counter[str]:
    return Counter(json.dumps({**record, "record": 0, "id": 0}, sort_keys=True) for record in taken.records)


def check(taken: Taken, total: int) -> None:
    summary = taken.summary
    assert summary.records == total == summary.taken + sum(summary.dropped.values())
    assert summary.taken == len(taken.records)
    assert summary.dropped.keys() <= REMEDIES.keys()
    for record in taken.records:
        answers = [record[name] for name in ("chosen", "rejected", "completion") if name in record]
        assert len({type(value) for value in (record["prompt"], *answers)}) == 1
        if isinstance(record["prompt"], list):
            assert record["prompt"][-1]["role"] in ANSWERED
            assert all(answer[0]["role"] == answer[-1]["role"] == "assistant" for answer in answers)
            turns = [turn for value in (record["prompt"], *answers) for turn in value]
            assert all(turn.keys() == {"role", "content"} and isinstance(turn["content"], str) for turn in turns)
        else:
            assert all(text.strip() for text in (record["prompt"], *answers))
    if taken.records:
        assert len(Dataset.from_list(list(taken.records))) == summary.taken


@pytest.mark.parametrize("rendering", ["chat", "plain"])
def test_broken_records_are_accounted_for_or_refused_whatever_their_order(rendering: str) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(250):
        rows, done = broken(seed)
        taken = read(rows, rendering)
        shuffled = random.Random(seed).sample(rows, len(rows))
        again = read(shuffled, rendering)
        assert (taken is None) == (again is None), done
        if taken is None or again is None:
            outcomes["refused"] += 1
            continue
        check(taken, len(rows))
        assert content(taken) == content(again), done
        for summary in (taken.summary, again.summary):
            outcomes["dropped"] += bool(summary.dropped)
        same = [summary.as_mapping() | {"first": 0} for summary in (taken.summary, again.summary)]
        assert same[0] == same[1], done
        outcomes["whole"] += not taken.summary.dropped
    assert min(outcomes[name] for name in ("refused", "dropped", "whole")) > 20, outcomes


@pytest.mark.parametrize("shape", GOOD)
def test_good_records_of_every_shape_are_taken_whole(shape: str) -> None:
    taken = read(GOOD[shape])
    assert taken is not None
    assert taken.summary.taken == 6
    assert not taken.summary.dropped


def test_broken_files_are_read_or_refused(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(150):
        written, suffix, done = broken_file(seed)
        file = tmp_path / f"data{suffix}"
        file.write_bytes(written)
        rows, refusal = [], ""
        try:
            rows = read_rows(str(file))
        except ValueError as error:
            refusal = str(error)
        assert not refusal or refusal.startswith(f"cannot read preference data {file}: "), done
        outcomes["refused" if refusal else "read"] += 1
        if rows:
            read(rows)
    assert min(outcomes.values()) > 20, outcomes
