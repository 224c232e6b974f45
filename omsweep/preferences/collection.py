"""Pairs collected into three files that survive a kill: all samples, the pairs made from them, and the record of how.

The samples file is the truth: one line per prompt, in the prompts' order, a chunk of prompts at a time. Pairs are made
from it at the end and appear in one step. A chunk is sampled whole or again, so that what its prompts meet in a batch,
and with it the rounding of their logits, does not depend on where a run was interrupted.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from omsweep.preferences.pairing import Answer, samples_record
from omsweep.preferences.prompts import Prompt
from omsweep.preferences.request import differences

CHUNK_PROMPTS = 64
"""Prompts sampled, scored and written at a time."""

AnswerPrompts = Callable[[Sequence[Prompt]], Sequence[Sequence[Answer]]]


@dataclass(frozen=True)
class PairFiles:
    """`OUT.jsonl` with the pairs, `OUT.samples.jsonl` with every answer, `OUT.json` with how they came about."""

    pairs: Path

    def __post_init__(self) -> None:
        if self.pairs.suffix != ".jsonl":
            raise ValueError(f"output must end with .jsonl, got {str(self.pairs)!r}")
        if not self.pairs.parent.is_dir():
            raise ValueError(f"output's folder {self.pairs.parent} does not exist")

    @property
    def samples(self) -> Path:
        """Every sampled answer with its score."""
        return self.pairs.with_suffix(".samples.jsonl")

    @property
    def record(self) -> Path:
        """Request, sources, sessions and summary."""
        return self.pairs.with_suffix(".json")


def previous_record(files: PairFiles) -> dict[str, Any]:
    """The record of the run to go on with; empty when there is none, or when it died before it sampled anything.

    Raises:
        ValueError: the files of something else lie where ours would.
    """
    begun = [file for file in (files.pairs, files.samples) if file.exists() and file.stat().st_size]
    if not files.record.exists():
        if begun:
            raise ValueError(f"{begun[0]} exists without its record {files.record.name}; choose another output")
        return {}
    record = _parsed(files.record.read_bytes())
    if not {"request", "sources", "sessions"} <= set(record):
        raise ValueError(f"{files.record} exists and is not a record of omsweep prefs; choose another output")
    return record if begun else {}


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], files: PairFiles) -> None:
    """ValueError naming what differs when the files belong to another request."""
    found = differences(before, now)
    if found:
        raise ValueError(f"{files.pairs} was begun with other arguments ({'; '.join(found)}); choose another output")


@contextmanager
def opened_samples(files: PairFiles) -> Iterator[BinaryIO]:
    """The samples file, made if need be, to this process alone; ValueError while another one has it."""
    with os.fdopen(os.open(files.samples, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{files.samples} is being written by another process") from None
        yield stream


def complete_prompts(stream: BinaryIO, prompts: Sequence[Prompt]) -> int:
    """How many prompts from the first on are sampled in whole chunks; what lies behind them is cut off.

    Raises:
        ValueError: a whole line that is not what this run wrote.
    """
    stream.seek(0)
    ends = [0]
    for number, line in enumerate(stream):
        if not line.endswith(b"\n"):
            break
        if number >= len(prompts) or _parsed(line).get("id") != prompts[number].id:
            raise ValueError(f"{stream.name}: line {number + 1} is not the sample of prompt {number + 1}; move it away")
        ends.append(ends[-1] + len(line))
    sampled = len(ends) - 1
    kept = sampled if sampled == len(prompts) else sampled - sampled % CHUNK_PROMPTS
    stream.truncate(ends[kept])
    stream.seek(ends[kept])
    return kept


def sample_rest(
    stream: BinaryIO, prompts: Sequence[Prompt], answer: AnswerPrompts, *, done: int, count: Callable[[int], object]
) -> None:
    """Sample the prompts after the first `done`, chunk by chunk, each on the disk before the next begins.

    Args:
        stream: placed after what is complete, see `complete_prompts`.
        prompts: all of them.
        answer: samples and scores some prompts.
        done: a multiple of `CHUNK_PROMPTS`.
        count: called with the number of prompts of each chunk once it is written.
    """
    for start in range(done, len(prompts), CHUNK_PROMPTS):
        chunk = prompts[start : start + CHUNK_PROMPTS]
        records = map(samples_record, chunk, answer(chunk))
        stream.write(b"".join(line_of(record) for record in records))
        stream.flush()
        os.fsync(stream.fileno())
        count(len(chunk))


def sampled(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """The records of the samples file, one at a time."""
    stream.seek(0)
    for line in stream:
        yield json.loads(line)


def line_of(record: Mapping[str, Any]) -> bytes:
    """A record as one line of JSON."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def replace_lines(target: Path, lines: Iterator[bytes]) -> None:
    """Write a file that appears whole, on the disk, or not at all."""
    partial = target.with_name(f".{target.name}.partial")
    with partial.open("wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(target)


def _parsed(text: bytes) -> dict[str, Any]:
    """The JSON object; empty when it is none."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
