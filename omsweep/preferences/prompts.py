"""Prompts to sample preference pairs for: of an embedded data set, or of a file. Torch-free."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from omsweep.preferences.files import SUFFIXES, read_rows
from omsweep.preferences.records import record_id
from omsweep.preferences.settings import Messages
from omsweep.preferences.table import PREFERENCES
from omsweep.preferences.turns import JOINED, Unusable, messages


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A chat to answer, and its stable id."""

    id: str
    messages: Messages


def read_prompts(source: str, *, limit: int | None, seed: int) -> tuple[list[Prompt], int]:
    """The first `limit` different prompts of a source, in its order.

    Args:
        source: a name in `PREFERENCES`, whose open-ended training prompts are drawn with `seed`, or a `.jsonl`, `.json`
            or `.parquet` file of records with `prompt` (text of one user turn, or chat messages) and perhaps `id`;
            other keys are not read. Without an id the chat's hash is one.
        limit: None for all; of an embedded data set those among its own number of prompts.
        seed: of an embedded data set's prompts.

    Returns:
        The prompts, and how many records were left out because the same chat came before (whose id stays).

    Raises:
        ValueError: no such source, no prompt in it, a record without a usable prompt, or one id for two chats.
    """
    records = _embedded(source, seed) if source in PREFERENCES else _of_file(source)
    ids: dict[str, str] = {}
    prompts: dict[str, Prompt] = {}
    for number, record in enumerate(records):
        prompt = _prompt(record, f"{source}: record {number}")
        content = json.dumps(prompt.messages, sort_keys=True)
        if ids.setdefault(prompt.id, content) != content:
            raise ValueError(f"{source}: record {number} has id {prompt.id!r}, which another prompt has already")
        prompts.setdefault(content, prompt)
    if not prompts:
        raise ValueError(f"{source} holds no prompts")
    return list(prompts.values())[:limit], len(records) - len(prompts)


def prompts_hash(prompts: Sequence[Prompt]) -> str:
    """Sixteen hex digits of ids and chats, in order."""
    content = json.dumps([[prompt.id, prompt.messages] for prompt in prompts], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _embedded(name: str, seed: int) -> list[dict[str, Any]]:
    entry = PREFERENCES[name]
    records: list[dict[str, Any]] = import_module(entry.module).open_prompts(prompts=entry.prompts, seed=seed)
    return records


def _of_file(source: str) -> list[dict[str, Any]]:
    if not source.endswith(SUFFIXES):
        raise ValueError(
            f"prompts must be one of {', '.join(PREFERENCES)}, or a file that ends with one of {', '.join(SUFFIXES)}, "
            f"got {source!r}"
        )
    return read_rows(source, what="prompts")


def _prompt(record: Mapping[str, Any], where: str) -> Prompt:
    given, declared = record.get("prompt"), record.get("id")
    if not isinstance(given, str | list) or not given:
        raise ValueError(f"{where} needs prompt: text or a list of messages with role and content, got {given!r:.60}")
    done: set[str] = set()
    try:
        turns = [{"role": "user", "content": given}] if isinstance(given, str) else given
        chat = messages(turns, "prompt", done)
        if JOINED in done:
            raise ValueError("a content is a list of parts: join them")
    except (ValueError, Unusable) as error:
        raise ValueError(f"{where} needs prompt: text or a list of messages with role and content; {error}") from None
    if not chat[-1]["content"].strip():
        raise ValueError(f"{where} must not end with an empty turn")
    if chat[-1]["role"] == "assistant":
        raise ValueError(f"{where} must not end with the assistant's turn: that is what will be sampled")
    return Prompt(id=record_id({"prompt": chat}) if declared is None else str(declared), messages=chat)
