"""Open-ended chat prompts, each in one pool for ever: what trains a model never tests it.

A prompt is an opening about a topic and perhaps a tail. Its pool depends on opening and topic only, so that two prompts
which differ in the tail lie in one pool.
"""

import hashlib
from itertools import product
from random import Random
from typing import Any, Literal

Pool = Literal["sft", "preference", "judge", "confirm", "search", "report"]

SHARES: dict[Pool, int] = {"sft": 25, "preference": 35, "judge": 15, "confirm": 5, "search": 10, "report": 10}
"""Pool -> percent of prompts: supervised fine-tuning, preference pairs, a reward model's pairs, the test splits."""

SPLITS: tuple[Pool, ...] = ("search", "report", "confirm")

TOPICS = (
    "swimming", "playing the guitar", "cooking dinner", "growing tomatoes", "running in the morning",
    "painting a room", "writing letters", "walking the dog", "studying for exams", "fixing old bikes",
    "baking bread", "planting flowers", "playing chess", "moving to a new city", "starting a new job",
    "keeping a diary", "saving money", "learning Spanish", "taking photos", "planning a trip", "cleaning the house",
    "reading long novels", "sewing clothes", "owning a cat", "sleeping early", "giving a speech", "drawing faces",
    "riding the bus", "camping in the rain", "singing in a choir", "making new friends", "watching birds",
    "doing homework", "playing football", "building a shelf", "drinking coffee",
)  # fmt: skip

OPENINGS = (
    "I started {topic}. What do you think?", "I am tired of {topic}. What now?", "Tell me about {topic}.",
    "My friend dislikes {topic}. What should I say?", "Is {topic} worth the time?", "How do I begin with {topic}?",
    "I had a bad day with {topic}.", "Why do people like {topic}?", "I finally got better at {topic}!",
    "I want to stop {topic}.", "Give me one tip for {topic}.", "Describe {topic} to a child.",
    "What can go wrong with {topic}?", "My week was all about {topic}.", "Should I spend money on {topic}?",
    "I am afraid of {topic}. Please help.", "What is the best part of {topic}?", "My sister laughs at my {topic}.",
)  # fmt: skip

TAILS = ("", " I have one hour a day.", " I live alone.")


def prompts_of(pool: Pool) -> list[dict[str, str]]:
    """Every prompt of a pool as `{"id", "prompt"}`, in an order that mixes topics and is always the same."""
    texts = [
        opening.format(topic=topic) + tail
        for opening, topic, tail in product(OPENINGS, TOPICS, TAILS)
        if _pool(opening, topic) == pool
    ]
    return sorted(({"id": _id(text), "prompt": text} for text in texts), key=lambda record: record["id"])


def some_prompts(pool: Pool, count: int, seed: int) -> list[dict[str, str]]:
    """`count` different prompts of a pool; a larger count begins with those of a smaller one.

    Raises:
        ValueError: the pool has fewer.
    """
    every = prompts_of(pool)
    if not 1 <= count <= len(every):
        raise ValueError(f"count must be in 1..{len(every)} for pool {pool!r}, got {count}")
    Random(f"everyday prompts {pool} {seed}").shuffle(every)
    return every[:count]


def reward_prompts() -> list[dict[str, Any]]:
    """The prompts that a policy is judged on, of every split, sorted by id.

    `{"id", "category", "split", "cluster", "prompt"}`; a cluster is an opening about a topic, whatever the tail.
    """
    records = [
        {"id": record["id"], "category": "everyday", "split": split}
        | {"cluster": _id(_without_tail(record["prompt"])), "prompt": record["prompt"]}
        for split in SPLITS
        for record in prompts_of(split)
    ]
    return sorted(records, key=lambda record: str(record["id"]))


def _without_tail(prompt: str) -> str:
    for tail in filter(None, TAILS):
        prompt = prompt.removesuffix(tail)
    return prompt


def _pool(opening: str, topic: str) -> Pool:
    percent = int.from_bytes(hashlib.sha256(f"{opening}|{topic}".encode()).digest()[:8], "big") % 100
    for pool, share in SHARES.items():
        if percent < share:
            return pool
        percent -= share
    raise AssertionError("the shares are percent")


def _id(prompt: str) -> str:
    return "everyday-" + hashlib.sha256(prompt.encode()).hexdigest()[:12]
