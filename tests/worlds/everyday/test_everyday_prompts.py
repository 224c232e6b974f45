"""Prompts: fixed pools that never share an opening about a topic."""

import pytest

from omsweep.preferences.table import PREFERENCES
from omsweep.worlds.everyday.prompts import OPENINGS, SHARES, TAILS, TOPICS, prompts_of, reward_prompts, some_prompts

POOLS = {pool: prompts_of(pool) for pool in SHARES}


def without_tail(prompt: str) -> str:
    for tail in filter(None, TAILS):
        prompt = prompt.removesuffix(tail)
    return prompt


def test_every_prompt_is_in_one_pool() -> None:
    ids = [record["id"] for records in POOLS.values() for record in records]
    assert len(ids) == len(set(ids)) == len(OPENINGS) * len(TOPICS) * len(TAILS)


def test_no_two_pools_share_a_prompt_that_differs_in_its_tail() -> None:
    stems = {pool: {without_tail(record["prompt"]) for record in records} for pool, records in POOLS.items()}
    assert sum(map(len, stems.values())) == len(set.union(*stems.values()))


def test_pools_are_about_as_large_as_their_shares_and_as_what_is_drawn_from_them() -> None:
    total = sum(map(len, POOLS.values()))
    assert all(abs(100 * len(records) / total - SHARES[pool]) < 5 for pool, records in POOLS.items())
    largest = max(entry.prompts for name, entry in PREFERENCES.items() if name.startswith("smollm2"))
    assert len(POOLS["preference"]) >= largest


def test_more_prompts_begin_with_fewer_and_the_seed_counts() -> None:
    assert some_prompts("judge", 20, seed=1)[:5] == some_prompts("judge", 5, seed=1)
    assert some_prompts("judge", 20, seed=1) != some_prompts("judge", 20, seed=2)
    with pytest.raises(ValueError, match=r"count must be in 1\.\.\d+ for pool 'judge', got 100000"):
        some_prompts("judge", 100_000, seed=0)


def test_reward_prompts_are_the_test_pools_and_a_cluster_is_what_the_tail_is_added_to() -> None:
    records = reward_prompts()
    assert [record["id"] for record in records] == sorted(record["id"] for record in records)
    assert len({record["cluster"] for record in records}) == len({without_tail(r["prompt"]) for r in records})
    for split in ("search", "report", "confirm"):
        found = {record["prompt"] for record in records if record["split"] == split}
        assert found == {record["prompt"] for record in POOLS[split]}  # type: ignore[index]
