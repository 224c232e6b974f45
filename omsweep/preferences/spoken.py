"""What users say in a prompt, as text that does not depend on how a file writes it. Pure Python."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

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
