"""Where models are is told from the disk alone."""

import json
from pathlib import Path

import pytest

from omsweep.families.family import ModelFamily
from omsweep.families.presence import place_of, with_shape
from omsweep.families.tiny.architecture import random_family

COMMIT = "ab" * 20


def test_folders_and_ids(tmp_path: Path) -> None:
    assert place_of(str(tmp_path)) == "folder"
    assert place_of(str(tmp_path / "absent")) == "missing folder"
    assert place_of("~/absent/model") == "missing folder"
    assert place_of("nobody/no-model") == "hub"
    assert place_of(f"nobody/no-model@{COMMIT}") == "hub"


@pytest.mark.parametrize("path", ["models//x y", "a/b/c", "org/", "org/model@"])
def test_what_is_neither_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="neither a folder that exists nor a hub id"):
        place_of(path)


def test_a_downloaded_model_is_found_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--org--model"
    snapshot = random_family(repository / "snapshots" / COMMIT, hidden_size=32, intermediate_size=32)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert place_of("org/model") == place_of(f"org/model@{COMMIT}") == "hub cache"
    assert place_of("org/model", revision="v2") == "hub"
    shaped = with_shape(ModelFamily(name="mine", base="org/base", sft="org/model"))
    assert shaped.shape is not None
    assert shaped.shape.hidden == 32
    (snapshot / "model.safetensors").unlink()
    assert place_of("org/model") == "hub"


def test_the_shape_of_a_folder_is_read_and_a_strange_one_is_not_guessed(tmp_path: Path) -> None:
    folder = random_family(tmp_path / "model", "qwen2")
    family = ModelFamily(name="mine", base=str(folder), sft=str(folder))
    assert family.size is None
    assert with_shape(family).size == 363392
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    assert with_shape(family).shape is None
    (folder / "config.json").write_text("{")
    assert with_shape(family).shape is None
