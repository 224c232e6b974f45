"""Prompts that are trained and scored, found by what users say in them, whatever their ids.

Two texts are the same when `user_text` makes the same of both. They overlap when they share `NGRAM_WORDS` words in a
row; shorter texts can only be the same.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

USER = frozenset({"user", "human", "prompter", "instruction", "inst", "/sys"})
END = frozenset({"im_end", "end_header_id", "eot_id", "end", "end_of_turn", "begin_of_text", "endoftext", "bos", "eos"})
MARKER = re.compile(
    r"""(
    <\|im_start\|>\s*\w+ | <\|start_header_id\|>\s*\w+ | <start_of_turn>\s*\w+
    | <\|(?:user|human|prompter|assistant|system|im_end|end_header_id|eot_id|end|begin_of_text|endoftext)\|>
    | <end_of_turn> | </?s> | <[be]os> | \[/?inst\] | <</?sys>>
    | ^[ \t]*(?:human|user|assistant|system)[ \t]*:
    | ^[ \t]*\#{2,}[ \t]*(?:human|user|assistant|system|instruction|response)[ \t]*:
    )""",
    re.VERBOSE | re.MULTILINE,
)
"""Marks of turns in case-folded text: chat templates' tokens anywhere, names with a colon at the start of a line."""
NGRAM_WORDS = 13
ANCHOR_WORDS = (NGRAM_WORDS + 1) // 2
"""Every run of `NGRAM_WORDS` words covers one whole block of so many, wherever blocks are counted from."""
EXAMPLES = 5
SHOWN_CHARACTERS = 80
RULE_VERSION = 2
"""Raised when the same texts would give other matches."""


@dataclass(frozen=True)
class ScoredText:
    """What a policy is asked when it is scored: the item's name, and its prompt or a part of it."""

    item: str
    prompt: str | Sequence[Mapping[str, Any]]


class Match(TypedDict):
    """A record, from 0, whose prompt is the same as an item's or overlaps with it, and the words they share."""

    record: int
    item: str
    same: bool
    words: str


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """How much of a data set is scored too.

    Attributes:
        source: the data set.
        prompts: records.
        items: what they were compared with.
        same: records whose prompt is an item's.
        overlapping: other records that share `NGRAM_WORDS` words in a row with an item.
        examples: up to `EXAMPLES` matches, same ones first.
        listed: file with all matches, empty where none was written.
    """

    source: str
    prompts: int
    items: int
    same: int
    overlapping: int
    examples: tuple[Match, ...]
    listed: str

    @classmethod
    def of(cls, found: Sequence[Match], *, source: str, prompts: int, items: int, listed: str = "") -> "Contamination":
        """Counts and examples of all matches of a data set."""
        same = [match for match in found if match["same"]]
        others = [match for match in found if not match["same"]]
        examples = (*same, *others)[:EXAMPLES]
        counts = {"prompts": prompts, "items": items, "same": len(same), "overlapping": len(others)}
        return cls(source=source, examples=examples, listed=listed, **counts)

    def describe(self) -> str:
        """Counts and examples in one line."""
        counts = (
            f"{self.source}: of {self.prompts} prompts {self.same} are the same as one of {self.items} scored items and"
            f" {self.overlapping} more share {NGRAM_WORDS} words in a row with one"
        )
        shown = ", ".join(
            f"record {match['record']} and {match['item']} ({match['words']!r})" for match in self.examples
        )
        everywhere = f"; all are in {self.listed}" if self.listed else ""
        return f"{counts}: {shown}{everywhere}" if shown else counts


class ItemTexts:
    """Scored texts, ready to be compared with.

    Args:
        scored: several texts of an item count as one item.
    """

    def __init__(self, scored: Iterable[ScoredText]) -> None:
        self.same: dict[str, str] = {}
        self._ngrams: dict[int, str] = {}
        self._anchors: set[int] = set()
        for one in scored:
            text = user_text(one.prompt)
            if not text or text in self.same:
                continue
            self.same[text] = one.item
            words = text.split()
            self._anchors.update(map(hash, _runs(words, ANCHOR_WORDS)))
            for run in _runs(words, NGRAM_WORDS):
                self._ngrams.setdefault(hash(run), one.item)

    def match(self, record: int, text: str) -> Match | None:
        """How the text of a record, from `user_text`, meets one of the items."""
        if text in self.same:
            return Match(record=record, item=self.same[text], same=True, words=text[:SHOWN_CHARACTERS])
        words = text.split()
        blocks = range(0, len(words) - ANCHOR_WORDS + 1, ANCHOR_WORDS)
        if all(hash(tuple(words[start : start + ANCHOR_WORDS])) not in self._anchors for start in blocks):
            return None
        for run in _runs(words, NGRAM_WORDS):
            if hash(run) in self._ngrams:
                shared = " ".join(run)[:SHOWN_CHARACTERS]
                return Match(record=record, item=self._ngrams[hash(run)], same=False, words=shared)
        return None


def matches(prompts: Iterable[tuple[int, str | Sequence[Mapping[str, Any]]]], items: ItemTexts) -> Iterator[Match]:
    """Every prompt that meets an item, in order; prompts come with their records' numbers."""
    for record, prompt in prompts:
        found = items.match(record, user_text(prompt))
        if found is not None:
            yield found


def refuse_same(found: Contamination) -> None:
    """ValueError where a prompt is an item's: a policy must not be scored on what it was trained on."""
    if found.same:
        raise ValueError(
            f"{found.describe()}; take the records that are the same out of these data, or the items out of what is"
            " scored"
        )


def _runs(words: Sequence[str], count: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(count)), strict=False)


def user_text(prompt: str | Sequence[Mapping[str, object]]) -> str:
    """All turns of the user, as one text in NFKC, case-folded, with single spaces and without role markers.

    In plain text what stands behind a marker of the assistant or the system is not the user's; text without markers is.

    Args:
        prompt: text, or chat messages with `role` and `content`.
    """
    turns = [prompt] if isinstance(prompt, str) else [turn["content"] for turn in prompt if turn["role"] == "user"]
    return " ".join(" ".join(_said(turn) for turn in turns if isinstance(turn, str)).split())


def _said(turn: str) -> str:
    text = (turn if turn.isascii() else unicodedata.normalize("NFKC", turn)).casefold()
    pieces = MARKER.split(text)
    said, by_user = [pieces[0]], True
    for marker, words in zip(pieces[1::2], pieces[2::2], strict=True):
        name = re.findall(r"/?\w+", marker)[-1]
        by_user = name in USER or (by_user and (name in END or name in ("s", "/s")))
        if by_user:
            said.append(words)
    return " ".join(said)
