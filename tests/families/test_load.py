"""Making a family's models available: trained once, shared, safe, or simply there."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import HfHubHTTPError

from omsweep.families import load
from omsweep.families.family import ModelFamily
from omsweep.families.load import find, load_model, load_tokenizer, prepare, weights_hash
from omsweep.families.tiny import build
from omsweep.families.tiny.architecture import random_family


class Bars:
    """A progress factory that remembers its bars."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.steps = 0
        self.closed = 0

    def __call__(self, *, total: int, desc: str) -> "Bars":
        self.made.append(f"{desc}: {total}")
        return self

    def update(self, n: int) -> None:
        self.steps += n

    def close(self) -> None:
        self.closed += 1


def test_a_family_is_trained_once_with_progress(own_cache: Path, brief_family: ModelFamily) -> None:
    bars = Bars()
    folders = prepare(brief_family, progress=bars)
    assert bars.made == ["tiny qwen2 base: 2", "tiny qwen2 SFT: 2"]
    assert (bars.steps, bars.closed) == (4, 2)
    assert prepare(brief_family, progress=bars) == folders
    assert len(bars.made) == 2
    assert Path(folders.base).parent == own_cache / "families"
    assert (folders.base_revision, folders.sft_revision) == (None, None)


def test_the_folders_are_ordinary_hugging_face_folders(own_cache: Path, brief_family: ModelFamily) -> None:
    folders = prepare(brief_family, progress=Bars())
    for folder in (folders.base, folders.sft):
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in Path(folder).iterdir()}
        assert json.loads((Path(folder) / "config.json").read_text())["model_type"] == "qwen2"
        assert load_tokenizer(folder).chat_template
        assert load_model(folder).dtype == torch.float32
    assert weights_hash(folders.base) != weights_hash(folders.sft)


def test_sft_seeds_share_one_base(own_cache: Path, brief_family: ModelFamily) -> None:
    first, second = (prepare(replace(brief_family, sft_seed=seed), progress=Bars()) for seed in (0, 1))
    assert first.base == second.base
    assert weights_hash(first.sft) != weights_hash(second.sft)


def test_training_again_gives_the_same_weights(own_cache: Path, brief_family: ModelFamily) -> None:
    first = prepare(brief_family, progress=Bars())
    hashes = weights_hash(first.base), weights_hash(first.sft)
    shutil.rmtree(own_cache)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = prepare(brief_family, progress=Bars())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert again == first
    assert (weights_hash(again.base), weights_hash(again.sft)) == hashes


def test_a_build_that_dies_half_way_leaves_nothing_and_can_be_repeated(
    own_cache: Path, brief_family: ModelFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(build, "train_stage", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare(brief_family, progress=Bars())
    assert not [f for f in (own_cache / "families").iterdir() if f.is_dir() and f.suffix != ".partial"]
    assert load_model(prepare(brief_family, progress=Bars()).sft)


def test_other_source_is_another_recipe(
    own_cache: Path, brief_family: ModelFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(brief_family, progress=Bars())
    monkeypatch.setattr(build, "source_hash", lambda: "changed")
    second = prepare(brief_family, progress=Bars())
    assert first.base != second.base
    assert first.sft != second.sft


@pytest.mark.slow
def test_two_processes_that_ask_at_once_train_once(own_cache: Path) -> None:
    program = (
        "from omsweep.families.family import ModelFamily, Stage, TinyRecipe\n"
        "from omsweep.families.load import prepare\n"
        "from tqdm import tqdm\n"
        "def bar(total, desc):\n"
        "    print('made', desc)\n"
        "    return tqdm(total=total, desc=desc)\n"
        "stage = Stage(steps=40, batch_size=8, learning_rate=1e-3)\n"
        "recipe = TinyRecipe(architecture='llama', pretraining=stage, sft=stage)\n"
        "print(prepare(ModelFamily(name='brief', recipe=recipe), progress=bar))\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    lines = [process.communicate(timeout=300)[0].splitlines() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert lines[0][-1] == lines[1][-1]
    assert sorted(lines[0][:-1] + lines[1][:-1]) == ["made tiny llama SFT", "made tiny llama base"]


def test_local_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    base, sft = random_family(tmp_path / "base", "llama"), random_family(tmp_path / "sft", "llama", seed=1)
    folders = prepare(ModelFamily(name="mine", base=str(base), sft=str(sft)))
    assert (folders.base, folders.sft) == (str(base), str(sft))


def test_a_folder_without_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"family 'mine': {tmp_path} is no Hugging Face model folder.*config\.json"):
        prepare(ModelFamily(name="mine", base=str(tmp_path), sft=str(tmp_path)))


def test_a_hub_id_that_cannot_be_reached_is_explained() -> None:
    with pytest.raises(ValueError, match="'nobody/no-model' is no folder that exists.*HF_HUB_OFFLINE"):
        find("nobody/no-model")


def test_neither_folder_nor_hub_id() -> None:
    with pytest.raises(ValueError, match="'models//x y' is neither a folder that exists nor a hub id"):
        find("models//x y")


def test_hub_ids_are_resolved_to_snapshots_and_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    random_family(tmp_path / "models--x" / "snapshots" / ("ab" * 20), hidden_size=32, intermediate_size=32)

    def download(name: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        asked.append((name, revision))
        return str(tmp_path / "models--x" / "snapshots" / ("ab" * 20))

    monkeypatch.setattr(load, "snapshot_download", download)
    folders = prepare(ModelFamily(name="hub", base="org/base", sft="org/sft@v2", revision="v1"))
    assert asked == [("org/base", "v1"), ("org/sft", "v2")]
    assert (folders.base_revision, folders.sft_revision) == ("ab" * 20, "ab" * 20)
    assert folders.sft.endswith("ab" * 20)


def test_a_hub_that_refuses_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, **_: object) -> str:
        raise HfHubHTTPError("404 not found", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]

    monkeypatch.setattr(load, "snapshot_download", download)
    with pytest.raises(ValueError, match="the hub refuses it: 404 not found"):
        find("org/model")
