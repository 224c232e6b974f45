"""What `omsweep prefs` does: preference pairs from a model's own answers, judged by a scorer, to files."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from tqdm import tqdm

from omsweep.commands import DONE, FAILED
from omsweep.console import say
from omsweep.evaluation.settings import RewardSettings, reward_from
from omsweep.families.family import DTYPES
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
from omsweep.preferences.pairs_file import write_pairs
from omsweep.preferences.prompts import Prompt, prompts_hash, read_prompts
from omsweep.preferences.request import PairSettings
from omsweep.provenance import revision, versions
from omsweep.strict_json import write_json

if TYPE_CHECKING:
    from omsweep.commands.prefs.sources import PairSources


OPTIONS: dict[str, type] = {field.name: type(field.default) for field in fields(PairSettings)}
OPTIONS |= {"limit": int, "batch_size": int}
"""Options that are numbers or one word, and what their texts are read as."""

BATCH_SIZE = 64

BESIDE_THE_SCORE = ("prompts", "device", "keep", "name")
"""Fields of a reward that change no score of an answer."""


def execute(options: argparse.Namespace) -> int:
    """Check the request, then sample, score and pair what is not there yet, and say what was written.

    Returns:
        1 where there is no pair.

    Raises:
        ValueError: what is wrong with the request, before anything is loaded; files that were begun with another one.
    """
    model, dtype = options.model, options.dtype
    settings, limit, batch_size = read_numbers({name: getattr(options, name) for name in OPTIONS})
    reward = read_scorer(options.scorer)
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    files = PairFiles(Path(options.output))
    record = previous_record(files)
    chats, repeated = read_prompts(options.prompts, limit=limit, seed=settings.seed)
    request = {
        "model": model,
        "dtype": dtype,
        "prompts": {"source": options.prompts, "limit": limit, "count": len(chats), "hash": prompts_hash(chats)},
        "scorer": {
            name: value
            for name, value in asdict(reward).items()
            if name not in ("prompts", "device", "keep", "name") and value is not None
        },
        **asdict(settings),
        "chunk_prompts": CHUNK_PROMPTS,
    }
    if record:
        check_same(record["request"], request, files)

    from omsweep.commands.prefs.sources import resolve_sources

    sources = resolve_sources(model, reward, dtype=dtype)
    if record:
        check_same(record["sources"], sources.identity, files)
    else:
        sources.check_room(chats, settings.max_new_tokens)
        record = {"request": request, "sources": sources.identity, "prompts_repeated": repeated, "sessions": []}
    if record.get("summary") is None or not files.pairs.is_file():
        _collect(files, record, chats, settings, sources, batch_size)
    _say(files, record["summary"])
    return DONE if record["summary"]["pairs"] else FAILED


def read_numbers(options: Mapping[str, str | None]) -> tuple[PairSettings, int | None, int]:
    """Settings, limit and batch size from texts of a command line; ValueError naming option and what is allowed."""
    given = {name: _converted(name, text, OPTIONS[name]) for name, text in options.items() if text is not None}
    limit, batch_size = given.pop("limit", None), given.pop("batch_size", BATCH_SIZE)
    for name, value in (("limit", limit), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    return PairSettings(**given), limit, batch_size


def read_scorer(text: str) -> RewardSettings:
    """A scorer's name or a YAML mapping as settings; ValueError naming what is allowed."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"scorer must be a name or a YAML mapping, got {text!r}") from None
    if isinstance(value, Mapping) and "prompts" in value:
        raise ValueError("scorer takes no prompts here: --prompts says which ones are answered")
    return reward_from(value)


def _collect(
    files: PairFiles,
    record: dict[str, Any],
    chats: Sequence[Prompt],
    settings: PairSettings,
    sources: "PairSources",
    batch_size: int,
) -> None:
    """Sample what is missing and write the pairs; `record` gets this session and the summary."""
    with opened_samples(files) as stream:
        done = complete_prompts(stream, chats)
        session: dict[str, Any] = {"started": _now(), "first_prompt": done, "batch_size": batch_size}
        session |= revision() | {"versions": versions()}
        record["sessions"].append(session)
        if done < len(chats):
            answer = sources.answering(settings, batch_size=batch_size)
            write_json(files.record, record)
            with tqdm(total=len(chats), initial=done, desc="prefs", unit="prompt", disable=None) as bar:
                sample_rest(stream, chats, answer, done=done, count=bar.update)
        record["summary"] = write_pairs(sampled(stream), files.pairs, settings)
        session["ended"] = _now()
        write_json(files.record, record)


def _say(files: PairFiles, summary: Mapping[str, Any]) -> None:
    """One line on what there is, and a note where a look is due."""
    what = (
        f"{files.pairs}: {summary['pairs']} pairs from {summary['prompts_with_pairs']} of {summary['prompts']} prompts"
    )
    what += f", {summary['ties']} ties"
    if summary["pairs"]:
        chosen, rejected = (summary[f"tokens_{which}"]["mean"] for which in ("chosen", "rejected"))
        what += f"; mean margin {summary['margin']['mean']:.3g}, {chosen:.1f} tokens chosen, {rejected:.1f} rejected"
    say(what)
    for count, said in (("answers_unfinished", "were cut at --max-new-tokens"), ("answers_unscored", "got no score")):
        if summary[count]:
            say(f"omsweep: note: {summary[count]} of {summary['answers']} answers {said}", error=True)
    if not summary["pairs"]:
        say("omsweep: no pair: of no prompt were two answers further apart than --min-margin", error=True)


def _converted(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        what = {int: "a whole number", float: "a number"}.get(kind, "text")
        raise ValueError(f"{name} must be {what}, got {text!r}") from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
