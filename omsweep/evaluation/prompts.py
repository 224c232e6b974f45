"""Reward prompts: chats with stable ids, each in one split."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from omsweep.evaluation.clusters import cluster_ids, cluster_splits, limited
from omsweep.evaluation.judges.mt_bench import reference_for, temperature_of, turns_of
from omsweep.evaluation.settings import check_split
from omsweep.preferences.files import json_lines
from omsweep.preferences.turns import check_encodable


@dataclass(frozen=True, kw_only=True)
class RewardPrompt:
    """One prompt: stable id, what it belongs to, category, split and the chat to complete.

    Of several turns: `later` ones of the user, each asked once the one before is answered; `temperature`, that of its
    answers, None for that of all; `references`, correct answers by turn that a judge is shown. `pair`: a chosen and a
    rejected answer, where they are known.
    """

    item_id: str
    cluster: str
    category: str
    split: str
    messages: tuple[Mapping[str, str], ...]
    later: tuple[str, ...] = ()
    temperature: float | None = None
    references: tuple[str, ...] = ()
    pair: tuple[str, str] | None = None


def content_id(content: Any) -> str:
    """Sixteen hex digits that name `content` (plain data) wherever it is read."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def read_reward_prompts(path: Path, *, split: str, limit: int | None = None) -> tuple[RewardPrompt, ...]:
    """Prompts of `split` from a JSONL file, in the file's order; with `limit` a sample of so many, see `limited`.

    Each line has `prompt` (text of one user turn), `messages`, or as in MT-Bench `turns` (texts of the user), with
    `question_id` and `reference` (correct answers to these; see `judges.mt_bench`). `id`, `cluster`, `split` and
    `category` are optional: an id is then made from the content. Without `cluster`, chats belong together that have a
    `dialogue_id`, `conversation_id` or first user turn in common. The split is made from the cluster.

    Raises:
        ValueError: a line that is not JSON or has no prompt, an id used twice, splits that differ within a cluster,
            or an empty split.
    """
    check_split(split)
    every = all_reward_prompts(path)
    found = tuple(prompt for prompt in every if prompt.split == split)
    if not found:
        raise ValueError(f"{path}: no prompt in split {split!r}, {len(every)} in all")
    return limited(found, limit)


def all_reward_prompts(path: Path) -> tuple[RewardPrompt, ...]:
    """The prompts of every split, as `read_reward_prompts` has them."""
    return _read(path, path.read_bytes())


@lru_cache(maxsize=8)
def _read(path: Path, content: bytes) -> tuple[RewardPrompt, ...]:
    try:
        lines = list(json_lines(content.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not text in UTF-8: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    records: dict[str, Mapping[str, Any]] = {}
    chats: list[list[dict[str, str]]] = []
    seen: dict[str, int] = {}
    for number, record in lines:
        if not isinstance(record, dict):
            raise ValueError(f"{path}:{number}: must be an object with prompt or messages, got {record!r:.80}")
        messages = _messages(record, f"{path}:{number}")
        turns = turns_of(record, f"{path}:{number}")
        declared = record.get("id", record.get("question_id"))
        item_id = content_id([*messages, *turns[1:]]) if declared is None else str(declared)
        if item_id in seen:
            raise ValueError(f"{path}:{number}: id {item_id!r} was used in line {seen[item_id]} already")
        seen[item_id] = number
        records[item_id] = record
        chats.append(messages)
    shared = [_dialogue(record, chat) for record, chat in zip(records.values(), chats, strict=True)]
    clusters = cluster_ids(list(records), [record.get("cluster") for record in records.values()], shared)
    try:
        splits = cluster_splits(clusters, [record.get("split") for record in records.values()])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return tuple(
        RewardPrompt(
            item_id=item_id,
            cluster=cluster,
            category=str(record.get("category") or "reward"),
            split=split,
            messages=tuple(messages),
            **_of_turns(record),
            pair=_pair(record),
        )
        for (item_id, record), cluster, split, messages in zip(records.items(), clusters, splits, chats, strict=True)
    )


def _pair(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """Chosen and rejected answers, as texts or as chats that end with them; None where one is not there."""
    texts = []
    for name in ("chosen", "rejected"):
        given = record.get(name)
        last = given[-1] if isinstance(given, list) and given else given
        texts.append(last.get("content") if isinstance(last, dict) else last)
    chosen, rejected = texts
    return (chosen, rejected) if isinstance(chosen, str) and isinstance(rejected, str) else None


def _of_turns(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of a record with `turns`: those after the first, at what temperature they are answered, and correct answers."""
    if not (turns := record.get("turns")):
        return {}
    category = str(record.get("category") or "")
    references = [reference_for(category, one) for one in record.get("reference") or ()]
    return {"later": tuple(turns[1:]), "temperature": temperature_of(category), "references": tuple(references)}


def _dialogue(record: Mapping[str, Any], chat: list[dict[str, str]]) -> Any:
    """What other chats of the dialogue have too: its id, else its first user turn."""
    named = record.get("dialogue_id", record.get("conversation_id"))
    return named if named is not None else next((turn["content"] for turn in chat if turn["role"] == "user"), None)


def _messages(record: Mapping[str, Any], where: str) -> list[dict[str, str]]:
    given = record.get("prompt") if record.get("messages") is None else record["messages"]
    given = next(iter(turns_of(record, where)), given)
    asked = [{"role": "user", "content": given}] if isinstance(given, str) and given.strip() else given
    turns = asked if isinstance(asked, list) else []
    for index, turn in enumerate(turns):
        if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str) for key in ("role", "content")):
            raise ValueError(f"{where}: turn {index} needs role and content, text each, got {turn!r:.80}")
        check_encodable(turn["content"], f"{where}: turn {index}")
    if not turns:
        raise ValueError(f"{where}: needs prompt (text) or messages (a list of role and content), got {sorted(record)}")
    if turns[-1]["role"] != "user" or not turns[-1]["content"].strip():
        raise ValueError(f"{where}: the last turn must be the user's and say something, got {turns[-1]!r:.80}")
    return [dict(turn) for turn in turns]
