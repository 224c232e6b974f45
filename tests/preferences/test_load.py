import gzip
import json

import datasets
import pytest
from datasets import Dataset, load_from_disk

from omsweep.preferences import sources
from omsweep.preferences.load import load_preferences, summary_of
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
    assert summary_of(folder).records == 3
    assert load_from_disk(folder)["prompt"] == ["p0", "p1", "p2"]


def test_only_a_newline_ends_a_line(tmp_path):
    record = {"prompt": "a\u2028b", "chosen": "c\x85d", "rejected": "e\x0cf"}
    (tmp_path / "data.jsonl").write_text(json.dumps(record, ensure_ascii=False) + "\r\n\n", encoding="utf-8")
    [row] = load_from_disk(load(PreferenceData(path=str(tmp_path / "data.jsonl")), tmp_path)).to_list()
    assert {key: row[key] for key in record} == record


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.json", json.dumps(STANDARD).encode()),
        ("marked.jsonl", "\n".join(map(json.dumps, STANDARD)).encode("utf-8-sig")),
        ("data.jsonl.gz", gzip.compress("\n".join(map(json.dumps, STANDARD)).encode(), mtime=0)),
    ],
)
def test_a_json_list_a_byte_order_mark_and_gzip_are_read_too(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert len(load_from_disk(load(PreferenceData(path=str(tmp_path / name)), tmp_path))) == 4


def test_too_many_dropped_records_are_refused_with_the_table_each_time(tmp_path):
    records = [*STANDARD, STANDARD[0] | {"rejected": "good 0"}]
    path = str(written(tmp_path / "data.jsonl", records).path)
    folder = load(PreferenceData(path=path, max_dropped_share=0.2), tmp_path)
    assert [row["record"] for row in load_from_disk(folder)] == [0, 1, 2, 3]
    for share in (0.1, 0.19):
        message = (
            r"data.jsonl: 1 of 5 records are dropped and .*max_dropped_share allows 0.1.*\n +1  dropped: chosen and"
        )
        with pytest.raises(ValueError, match=message):
            load(PreferenceData(path=path, max_dropped_share=share), tmp_path)
    written(tmp_path / "data.jsonl", records[4:])
    with pytest.raises(
        ValueError, match="1 of 1 records are dropped and none is left: chosen and rejected are the same"
    ):
        load(PreferenceData(path=path, max_dropped_share=1.0), tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "hold no records"),
        ('{"prompt": "a"}\n', "must have the columns prompt, chosen, rejected"),
        ('{"prompt": "a", "chosen": "b", "rejected": "c"}\n{oops\n', "line 2 is not JSON"),
        ('["a"]', "every record must be an object, got 'a' as record 0"),
        ('{"prompt": "a", "prompt": "b"}', "the key 'prompt' is given twice"),
        ("[" * 100_000, "nested too deeply"),
        (
            '{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": "a", "chosen": "b"}\n',
            "record 1: preference data must have",
        ),
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
