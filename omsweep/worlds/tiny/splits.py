"""Stable ids, and which part of the world an id belongs to: a pure function of the prompt's text.

A prompt is either a training prompt (pretraining, SFT and preferences may use it) or a test prompt (suites only), so
that tests are disjoint from training by construction. What is held out is the prompt, that is this wording with
these contents; its single facts (a sum, a capital) occur in training in other wordings.
"""

import hashlib
from typing import Literal

TEST_SHARE_PERCENT = 30


def item_id(task: str, prompt: str) -> str:
    """`<task>-<12 hex digits of the prompt's SHA-256>`: equal prompts of a task have equal ids everywhere."""
    return f"{task}-{hashlib.sha256(prompt.encode()).hexdigest()[:12]}"


def partition_of(item: str) -> Literal["train", "test"]:
    """Whether an id may be trained on (about 70 %) or only tested (about 30 %)."""
    return "test" if _bucket("partition", item) < TEST_SHARE_PERCENT else "train"


def split_of(item: str) -> Literal["search", "report"]:
    """The half of a test id: searchers and front selection read `search`; `report` rescores the front."""
    return "search" if _bucket("split", item) < 50 else "report"


def _bucket(purpose: str, item: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}:{item}".encode()).digest()[:8], "big") % 100
