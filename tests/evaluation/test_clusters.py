"""What belongs together: found by name or by text, kept in one split, sampled together."""

from dataclasses import dataclass

import pytest

from omsweep.evaluation.clusters import cluster_ids, cluster_splits, limited
from omsweep.worlds.tiny.splits import split_of


@dataclass(frozen=True)
class Thing:
    item_id: str
    cluster: str


THINGS = [Thing(f"i{n}", f"c{n // 4}") for n in range(200)]


def test_a_declared_cluster_then_a_shared_text_then_the_items_own_id():
    shared = [" Anna is  in the park.", "anna is in the PARK.", "Ben is at home.", None, "Ben is at home."]
    found = cluster_ids(["a", "b", "c", "d", "e"], [None, None, None, None, "own"], shared)
    assert found[0] == found[1] != found[2]
    assert found[3:] == ["d", "own"]
    assert cluster_ids(["c"], [None], ["Ben is at home."]) == ["c"], "a text that no other item has"


def test_a_cluster_is_in_one_split():
    clusters = [f"c{n // 8}" for n in range(480)]
    splits = cluster_splits(clusters, [None] * 480)
    assert splits == [split_of(cluster) for cluster in clusters]
    assert set(splits) == {"search", "report", "confirm"}


def test_one_declared_split_counts_for_its_cluster_and_two_are_refused():
    assert cluster_splits(["c", "c", "c"], [None, "confirm", "train"]) == ["confirm"] * 3
    with pytest.raises(ValueError, match="items of cluster 'c' declare splits 'search' and 'report'"):
        cluster_splits(["c", "c"], ["search", "report"])


def test_a_limit_is_a_sample_by_cluster_and_a_smaller_one_lies_within_a_larger():
    samples = {limit: limited(THINGS, limit) for limit in (1, 7, 20, 50, 200)}
    assert [len(sample) for sample in samples.values()] == list(samples)
    for small, large in zip([1, 7, 20, 50], [7, 20, 50, 200], strict=True):
        assert set(samples[small]) < set(samples[large])
    assert len({thing.cluster for thing in samples[20]}) == 5, "whole clusters"
    assert limited(THINGS, None) == tuple(THINGS)


def test_a_limit_does_not_take_the_first():
    """Sorted by difficulty, say, the first items are no picture of the rest."""
    places = [THINGS.index(thing) for thing in limited(THINGS, 60)]
    assert places == sorted(places)
    assert 80 < sum(places) / len(places) < 120
    assert set(limited(THINGS[::-1], 60)) == set(limited(THINGS, 60)), "whatever their order"
