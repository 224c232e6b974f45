import pytest

from omsweep.preferences.settings import PreferenceData, preferences_from


def test_a_name_a_path_and_a_mapping_are_understood():
    assert preferences_from("tiny") == PreferenceData(name="tiny")
    assert preferences_from("pairs.jsonl") == PreferenceData(path="pairs.jsonl")
    assert preferences_from({"hub": "someone/pairs", "split": "train[:10]"}) == PreferenceData(
        hub="someone/pairs", split="train[:10]"
    )


def test_settings_survive_being_plain_data():
    spec = PreferenceData(path="pairs.parquet", limit=5, rendering="plain")
    assert preferences_from(spec.as_mapping()) == spec
    assert preferences_from(spec) is spec


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("big", r"preferences must be one of tiny, .*, or a mapping with path or hub, got 'big'"),
        ({"name": "tiny", "path": "a.jsonl"}, "exactly one of name, path and hub, got name, path"),
        ({}, "exactly one of name, path and hub, got none"),
        ({"file": "a.jsonl"}, "keys must be among name, path, hub, .*, got file"),
        ({"path": "a.csv"}, r"must end with one of .jsonl, .json, .parquet, .*, got 'a.csv'"),
        ({"name": "tiny", "limit": 0}, "limit must be a whole number of at least 1, got 0"),
        ({"path": "a.jsonl", "limit": 1.5}, "limit must be a whole number of at least 1, got 1.5"),
        ({"path": ["a.jsonl"]}, r"preferences path must be text, got \['a.jsonl'\]"),
        ({"hub": "a/b", "split": None}, "preferences split must be text, got None"),
        ({"name": "tiny", "rendering": "html"}, "rendering must be one of chat, plain, got 'html'"),
        ({"name": "tiny", "split": "train_prefs", "config": "x"}, "with name take no config and no split, got 'tiny'"),
        ({"name": "tiny", "rendering": "plain"}, "with name take no rendering, got 'tiny'"),
        ({"path": "a.jsonl", "revision": "abc"}, "with path take no revision, got 'a.jsonl'"),
        (3, "must be a name or a mapping, got 3"),
    ],
)
def test_mistakes_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        preferences_from(value)
