"""Paths in a search space file are relative to the file, those of `--set` to the working directory."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from omsweep.commands.check.load import load_checked
from omsweep.space.inputs import places
from omsweep.space.located import located
from omsweep.space.yaml_text import SpaceFileError

PAIR = '{"prompt": "is the sky blue", "chosen": "yes", "rejected": "no"}\n'


def test_every_path_is_seen_from_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "models/sft").mkdir(parents=True)
    content: dict[str, Any] = {
        "families": ["tiny-llama", {"base": "a/b", "sft": "models/sft", "other_sft": ["./more", "/abs", "~/home"]}],
        "preferences": "pairs.jsonl",
        "replay": {"path": "../sft.jsonl"},
        "space": {"method": {"mine": {"preferences": {"path": "own.jsonl"}}, "adamw": None}},
        "evaluate": {"tax": "suite", "reward": {"prompts": "p.jsonl", "model": "models/sft"}},
        "report": {"pilot": "runs/old"},
    }
    found = located(content, tmp_path)
    assert found["families"] == [
        "tiny-llama",
        {"base": "a/b", "sft": f"{tmp_path}/models/sft", "other_sft": [f"{tmp_path}/more", "/abs", "~/home"]},
    ]
    assert found["preferences"] == f"{tmp_path}/pairs.jsonl"
    assert found["replay"] == {"path": f"{tmp_path}/../sft.jsonl"}
    assert found["space"]["method"]["mine"]["preferences"] == {"path": f"{tmp_path}/own.jsonl"}
    assert found["evaluate"] == {
        "tax": f"{tmp_path}/suite",
        "reward": {"prompts": f"{tmp_path}/p.jsonl", "model": f"{tmp_path}/models/sft"},
    }
    assert found["report"] == {"pilot": f"{tmp_path}/runs/old"}
    assert located({"preferences": "pairs.jsonl.gz"}, tmp_path) == {"preferences": f"{tmp_path}/pairs.jsonl.gz"}


def test_names_and_what_is_no_search_space_stay_as_they_are(tmp_path: Path) -> None:
    for content in (
        {"preferences": "tiny", "evaluate": {"tax": "tiny", "reward": "tiny"}, "families": ["tiny-llama"]},
        {"preferences": {"hub": "a/b"}, "evaluate": {"reward": {"prompts": "smollm2", "model": "a/b"}}},
        {"preferences": 3, "evaluate": [1], "families": None, "space": "x", "report": {"pilot": None}, "train": {}},
        {"space": {"method": "adamw"}, "families": {"a": 1}, "evaluate": {"tax": 3, "reward": None}, "replay": [{}]},
    ):
        assert located(content, tmp_path) == content


def test_a_file_is_found_beside_the_search_space_and_a_missing_one_called_missing(
    tmp_path: Path, compare: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    file = tmp_path / "in/space.yaml"
    file.write_text(yaml.safe_dump(compare | {"preferences": {"path": "pairs.jsonl"}}, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpaceFileError, match=f"preferences.path: {tmp_path}/in/pairs.jsonl does not exist; a path is"):
        load_checked(file)
    (tmp_path / "in/pairs.jsonl").write_text(PAIR)
    assert places(load_checked(file))["preferences.path"] == f"{tmp_path}/in/pairs.jsonl"
    (tmp_path / "here.jsonl").write_text(PAIR)
    assert places(load_checked(file, ["preferences=here.jsonl"]))["preferences.path"] == "here.jsonl"
