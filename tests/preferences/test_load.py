import json

import datasets
import pytest
from datasets import Dataset, load_from_disk

from omsweep.preferences import sources
from omsweep.preferences.load import load_preferences
from omsweep.preferences.settings import PreferenceData

STANDARD = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(4)]
CONVERSATIONAL = [
    {
        "id": f"row-{i}",
        "prompt": [{"role": "user", "content": f"p{i}"}],
        "chosen": [{"role": "assistant", "content": f"good {i}"}],
        "rejected": [{"role": "assistant", "content": f"bad {i}"}],
    }
    for i in range(4)
]
UNPAIRED = [{"prompt": f"p{i}", "completion": f"c {i}", "label": i % 2 == 0} for i in range(4)]


def never(*_arguments):
    raise AssertionError("files need no sampling")


def written(path, records):
    if path.suffix == ".parquet":
        Dataset.from_list(records).to_parquet(path)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return PreferenceData(path=str(path))


def load(spec, tmp_path, **options):
    return load_preferences(spec, family_key="f", generate=never, root=tmp_path / "cache", **options)


@pytest.mark.parametrize(
    "records", [STANDARD, CONVERSATIONAL, UNPAIRED], ids=["standard", "conversational", "unpaired"]
)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_files_keep_their_records_and_get_ids(records, suffix, tmp_path):
    folder = load(written(tmp_path / f"data{suffix}", records), tmp_path)
    loaded = load_from_disk(folder).to_list()
    assert [{key: row[key] for key in record} for row, record in zip(loaded, records, strict=True)] == records
    assert len({row["id"] for row in loaded}) == len(records)


def test_the_same_content_is_built_once_and_other_content_anew(tmp_path):
    spec = written(tmp_path / "data.jsonl", STANDARD)
    first = load(spec, tmp_path)
    stamp = (first / "state.json").stat().st_mtime_ns
    assert load(spec, tmp_path) == first
    assert (first / "state.json").stat().st_mtime_ns == stamp
    written(tmp_path / "data.jsonl", STANDARD[:2])
    assert load(spec, tmp_path) != first


def test_limit_takes_the_first_records(tmp_path):
    path = str(written(tmp_path / "data.jsonl", STANDARD).path)
    folder = load(PreferenceData(path=path, limit=3), tmp_path)
    assert load_from_disk(folder)["prompt"] == ["p0", "p1", "p2"]


def test_only_a_newline_ends_a_line(tmp_path):
    record = {"prompt": "a\u2028b", "chosen": "c\x85d", "rejected": "e\x0cf"}
    (tmp_path / "data.jsonl").write_text(json.dumps(record, ensure_ascii=False) + "\r\n\n", encoding="utf-8")
    [row] = load_from_disk(load(PreferenceData(path=str(tmp_path / "data.jsonl")), tmp_path)).to_list()
    assert {key: row[key] for key in record} == record


def test_one_json_list_is_read_too(tmp_path):
    (tmp_path / "data.json").write_text(json.dumps(STANDARD))
    assert len(load_from_disk(load(PreferenceData(path=str(tmp_path / "data.json")), tmp_path))) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "hold no records"),
        ('{"prompt": "a"}\n', "must have the columns prompt, chosen, rejected"),
        ('{"prompt": "a", "chosen": "b", "rejected": "c"}\n{oops\n', "line 2 is not JSON"),
        ('["a"]', "every record must be an object"),
        ('{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": "a", "chosen": "b"}\n', "rejected must be text"),
    ],
)
def test_unusable_files_are_clear_errors(content, message, tmp_path):
    (tmp_path / "data.jsonl").write_text(content)
    with pytest.raises(ValueError, match=message):
        load(PreferenceData(path=str(tmp_path / "data.jsonl")), tmp_path)


def test_a_missing_file_and_a_broken_parquet_file_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"file .*nowhere\.jsonl does not exist"):
        load(PreferenceData(path=str(tmp_path / "nowhere.jsonl")), tmp_path)
    (tmp_path / "data.parquet").write_bytes(b"not parquet")
    with pytest.raises(ValueError, match=r"cannot read preference data .*data\.parquet"):
        load(PreferenceData(path=str(tmp_path / "data.parquet")), tmp_path)


def test_hub_data_are_loaded_at_a_revision(tmp_path, monkeypatch):
    asked = []

    def load_dataset(*arguments, **options):
        asked.append((arguments, options["split"], options["revision"]))
        return Dataset.from_list(STANDARD)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    spec = PreferenceData(hub="someone/pairs", config="small", split="test", revision="abc")
    folder = load(spec, tmp_path)
    assert load(spec, tmp_path) == folder
    assert asked == [(("someone/pairs", "small"), "test", "abc")]


def test_hub_failures_are_clear_errors(tmp_path, monkeypatch):
    def load_dataset(*_arguments, **_options):
        raise datasets.exceptions.DatasetNotFoundError("no such data set")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(ValueError, match="cannot load preference data someone/pairs from the hub: no such data set"):
        load(PreferenceData(hub="someone/pairs", revision="abc"), tmp_path)


def test_an_unreachable_hub_is_said_when_there_is_no_revision(monkeypatch):
    class Unreachable:
        def dataset_info(self, _name):
            raise ConnectionError("offline")

    monkeypatch.setattr("huggingface_hub.HfApi", Unreachable)
    with pytest.warns(UserWarning, match="changes on the hub go unnoticed"):
        assert sources.hub_revision(PreferenceData(hub="someone/pairs")) is None
