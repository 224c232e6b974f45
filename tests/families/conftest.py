"""A family that is trained for two steps, and a cache of its own for every test that wants one."""

from pathlib import Path

import pytest

from omsweep.families.family import ModelFamily, Stage, TinyRecipe


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def brief_family() -> ModelFamily:
    stage = Stage(steps=2, batch_size=2, learning_rate=1e-3)
    return ModelFamily(name="brief", recipe=TinyRecipe(architecture="qwen2", pretraining=stage, sft=stage))
