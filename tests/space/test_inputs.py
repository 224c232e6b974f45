"""Which files a space names, and whether they hold what they held."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from omsweep.space import inputs
from omsweep.space.build import build_space

FOLDERS = {
    "families.m.base": "base",
    "families.m.sft": "sft",
    "families.m.other_sft.0": "other",
    "evaluate.tax": "suite",
}
FILES = {
    "preferences.path": "pairs.jsonl",
    "space.method.adamw.preferences.path": "own.jsonl",
    "replay.path": "sft.jsonl",
    "evaluate.reward.prompts": "prompts.jsonl",
}


@pytest.fixture
def space(compare: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Everything a space can name, by relative paths; a hub id beside it."""
    monkeypatch.chdir(tmp_path)
    for name in FOLDERS.values():
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "file.yaml").write_text("one")
        (tmp_path / name / ".hidden").write_text("not looked at")
    for name in FILES.values():
        (tmp_path / name).write_text(name)
    pilot = tmp_path / "pilot"
    pilot.mkdir()
    (pilot / "comparison.json").write_text("{}")
    (pilot / "events.jsonl").write_text("grows")
    compare["families"] = [
        {"name": "m", "base": "base", "sft": "sft", "other_sft": ["other"]},
        {"name": "hub", "base": "org/base", "sft": "org/sft"},
    ]
    compare["preferences"] = "pairs.jsonl"
    compare["replay"] = "sft.jsonl"
    compare["space"]["method"]["adamw"] = {"preferences": "own.jsonl"}
    compare["space"] |= {"algorithm": "dpo", "replay_share": 0.1}
    compare["evaluate"] = {"tax": "suite", "reward": {"prompts": "prompts.jsonl"}}
    compare["report"] = {"pilot": "pilot"}
    return build_space(compare)


def test_every_path_is_absolute_and_has_a_hash(space: Any, tmp_path: Path) -> None:
    found = inputs.inputs_of(space)
    assert {key: one["path"] for key, one in found.items()} == {
        **{key: str(tmp_path / name) for key, name in (FOLDERS | FILES).items()},
        "report.pilot": str(tmp_path / "pilot" / "comparison.json"),
    }
    assert found["preferences.path"]["sha256"] == hashlib.sha256(b"pairs.jsonl").hexdigest()
    assert all(len(found[key]["folder_sha256"]) == 64 for key in FOLDERS)
    assert inputs.changed(found, inputs.inputs_of(space)) == []


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        ("prompts.jsonl", ["evaluate.reward.prompts"]),
        ("suite/inner/file.yaml", ["evaluate.tax"]),
        ("suite/added.yaml", ["evaluate.tax"]),
        ("suite/.hidden", []),
        ("pilot/events.jsonl", []),
    ],
)
def test_content_that_changed_is_named_with_both_hashes(space: Any, tmp_path: Path, file: str, keys: list[str]) -> None:
    before = inputs.inputs_of(space)
    (tmp_path / file).write_text("two")
    after = inputs.inputs_of(space)
    said = inputs.changed(before, after)
    assert [one.split()[0] for one in said] == keys
    for key, one in zip(keys, said, strict=True):
        assert before[key]["path"] in one
        for held in (before, after):
            assert list(held[key].values())[1] in one


def test_weights_count_by_size_and_a_file_that_is_gone_is_a_change(
    space: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALL_BYTES", 2)
    before = inputs.inputs_of(space)
    (tmp_path / "sft" / "inner" / "file.yaml").write_text("two")
    assert inputs.changed(before, inputs.inputs_of(space)) == []
    (tmp_path / "sft" / "inner" / "file.yaml").write_text("three")
    (tmp_path / "sft.jsonl").unlink()
    said = inputs.changed(before, inputs.inputs_of(space))
    assert [one.split()[0] for one in said] == ["families.m.sft", "replay.path"]
    assert f"{tmp_path / 'sft.jsonl'} has no file and had SHA-256" in said[1]
