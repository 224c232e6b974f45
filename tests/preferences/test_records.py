import pytest

from omsweep.preferences.records import check_disjoint, kind_of, record_id


def test_columns_say_the_kind():
    assert kind_of(["prompt", "chosen", "rejected", "extra"]) == "paired"
    assert kind_of(["chosen", "rejected"]) == "paired"
    assert kind_of(["prompt", "completion", "label"]) == "unpaired"


def test_missing_columns_name_what_was_found_and_wanted():
    with pytest.raises(
        ValueError, match=r"prompt, chosen, rejected \(pairs\) or prompt, completion, label .*got answer, prompt"
    ):
        kind_of(["prompt", "answer"])


def test_ids_follow_the_content_only():
    record = {"prompt": "a", "chosen": "b", "rejected": "c"}
    assert record_id(record) == record_id(dict(reversed(list(record.items())), note="x"))
    assert record_id(record) != record_id(record | {"chosen": "d"})


def test_a_shared_id_is_an_error_that_names_it():
    check_disjoint(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="got 1 in both: 7"):
        check_disjoint([7, 8], ["7"])
    with pytest.raises(ValueError, match="got 2 in both: a, b"):
        check_disjoint(["b", "a", "x"], ["a", "b", "c"])
