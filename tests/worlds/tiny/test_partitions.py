"""Ids, partitions and splits are pure functions of a prompt's text."""

from omsweep.worlds.tiny.splits import item_id, partition_of, split_of


def test_ids_and_parts_never_change() -> None:
    item = item_id("math", "what is 1 plus 2 ?")
    assert item == "math-c628f8e14890"
    assert (partition_of(item), split_of(item)) == ("test", "report")


def test_equal_prompts_of_other_tasks_have_other_ids() -> None:
    assert item_id("math", "x") != item_id("code", "x")


def test_shares_are_as_said() -> None:
    ids = [item_id("math", str(number)) for number in range(4000)]
    tests = [item for item in ids if partition_of(item) == "test"]
    assert abs(len(tests) / len(ids) - 0.30) < 0.03
    for split, share in (("search", 0.45), ("report", 0.45), ("confirm", 0.1)):
        assert abs(sum(split_of(item) == split for item in tests) / len(tests) - share) < 0.06
