"""Reward prompts: chats with stable ids, each in one split."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from omsweep.evaluation.settings import SPLITS, check_split
from omsweep.worlds.tiny.splits import split_of


@dataclass(frozen=True, kw_only=True)
class RewardPrompt:
    """One prompt: stable id, category and the chat to complete."""

    item_id: str
    category: str
    messages: tuple[Mapping[str, str], ...]


def content_id(content: Any) -> str:
    """Sixteen hex digits that name `content` (plain data) wherever it is read."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def item_split(item_id: str, declared: Any) -> str:
    """The split an item declares, or the one its id hashes to when it declares none of ours."""
    return declared if declared in SPLITS else split_of(item_id)


def read_reward_prompts(path: Path, *, split: str, limit: int | None = None) -> tuple[RewardPrompt, ...]:
    """Prompts of `split` from a JSONL file, in the file's order, the first `limit` of them.

    Each line has `prompt` (text of one user turn) or `messages`; `id`, `split` and `category` are optional:
    an id is then made from the content, the split from the id.

    Raises:
        ValueError: a line that is not JSON or has no prompt, an id used twice, or an empty split.
    """
    check_split(split)
    return _read(path, path.stat().st_mtime_ns, split)[:limit]


@lru_cache(maxsize=8)
def _read(path: Path, _modified: int, split: str) -> tuple[RewardPrompt, ...]:
    prompts: list[RewardPrompt] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: not JSON: {error}") from error
        messages = _messages(record, f"{path}:{number}")
        declared = record.get("id")
        item_id = content_id(messages) if declared is None else str(declared)
        if item_id in seen:
            raise ValueError(f"{path}:{number}: id {item_id!r} was used in line {seen[item_id]} already")
        seen[item_id] = number
        if item_split(item_id, record.get("split")) == split:
            category = str(record.get("category") or "reward")
            prompts.append(RewardPrompt(item_id=item_id, category=category, messages=tuple(messages)))
    if not prompts:
        raise ValueError(f"{path}: no prompt in split {split!r}, {len(seen)} in all")
    return tuple(prompts)


def _messages(record: Mapping[str, Any], where: str) -> list[dict[str, str]]:
    given = record.get("messages", record.get("prompt"))
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given}]
    if isinstance(given, list) and given and all({"role", "content"} <= set(turn) for turn in given):
        return [dict(turn) for turn in given]
    raise ValueError(f"{where}: needs prompt (text) or messages (a list of role and content), got {sorted(record)}")
