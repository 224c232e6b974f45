"""Stable ids, and which part of the world an id belongs to: a pure function of the prompt's text.

A prompt is either a training prompt (pretraining, SFT and preferences may use it) or a test prompt (suites only), so
that tests are disjoint from training by construction. What is held out is the prompt, that is this wording with
these contents; its single facts (a sum, a capital) occur in training in other wordings.
"""

import hashlib
from typing import Literal

Split = Literal["search", "report", "confirm"]

TEST_SHARE_PERCENT = 30
CONFIRM_SHARE_PERCENT = 10


def item_id(task: str, prompt: str) -> str:
    """`<task>-<12 hex digits of the prompt's SHA-256>`: equal prompts of a task have equal ids everywhere."""
    return f"{task}-{hashlib.sha256(prompt.encode()).hexdigest()[:12]}"


def partition_of(item: str) -> Literal["train", "test"]:
    """Whether an id may be trained on (about 70 %) or only tested (about 30 %)."""
    return "test" if _bucket("partition", item) < TEST_SHARE_PERCENT else "train"


def split_of(cluster: str) -> Split:
    """The split of a test item: 45 % `search`, 45 % `report`, 10 % `confirm`, by hash of its cluster.

    Searchers and front selection read `search`, `report` judges what they chose, and nothing scores `confirm`.
    A cluster is what items that belong together share; an item that stands alone is its own, named by its id.
    """
    half, place = divmod(_bucket("split", cluster), 50)
    if place >= 50 - CONFIRM_SHARE_PERCENT // 2:
        return "confirm"
    return "report" if half else "search"


def _bucket(purpose: str, item: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}:{item}".encode()).digest()[:8], "big") % 100
