"""Reward models that are trained here when first asked for: what they are, and where the cache keeps them. No torch."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omsweep.cache import cache_root, recipe_hash
from omsweep.families.family import ModelFamily, PackagedRecipe
from omsweep.families.packaged import SMOLLM2_135M

KIND = "reward_models"


@dataclass(frozen=True, kw_only=True)
class EmbeddedRewardModel:
    """A small reward model: the first layers of an SFT model and a head, trained by TRL on pairs of its answers.

    The pairs are labelled by positivity with a length cost, on prompts that no policy trains on or is tested with; a
    fifth of them is held out and tells how often the model agrees with the label (`summary.json`).

    Attributes:
        name: in `evaluate: {reward: {scorer: reward_model, model: NAME}}`.
        family: a packaged family; its SFT model of seed 0 answers.
        layers: decoder layers that are kept.
        prompts: number of prompts answered.
        samples: answers to each.
        max_new_tokens: longest answer.
        epochs: passes over the pairs.
        batch_size: pairs of a step.
        learning_rate: peak.
        seed: of prompts, answers, head and order.
    """

    name: str
    family: ModelFamily
    layers: int
    prompts: int
    samples: int
    max_new_tokens: int
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int = 0

    @property
    def packaged(self) -> PackagedRecipe:
        """How its family is made."""
        assert isinstance(self.family.recipe, PackagedRecipe)
        return self.family.recipe

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules that must be installed to train it."""
        return (*self.packaged.modules, "vaderSentiment")


SMOLLM2_JUDGE = EmbeddedRewardModel(
    name="smollm2-judge",
    family=SMOLLM2_135M,
    layers=8,
    prompts=128,
    samples=3,
    max_new_tokens=32,
    epochs=3,
    batch_size=8,
    learning_rate=5e-5,
)

REWARD_MODELS: Mapping[str, EmbeddedRewardModel] = {model.name: model for model in (SMOLLM2_JUDGE,)}


def reward_recipe(model: EmbeddedRewardModel) -> dict[str, Any]:
    """What fixes the trained model; ValueError when its packages are not installed."""
    from omsweep.extras import require
    from omsweep.families.smollm2.build import sft_recipe  # here, because settings must load without torch

    require(f"reward model {model.name!r}", model.modules)
    settings = {name: value for name, value in asdict(model).items() if name != "family"}
    return settings | {
        "sft": recipe_hash(sft_recipe(model.packaged, sft_seed=0)),
        "versions": {name: version(name) for name in ("trl", "vaderSentiment")},
        "source": _source_hash(),
    }


def trained_folder(name: str) -> str:
    """The folder of an embedded reward model; any other name as it is.

    Raises:
        ValueError: it has not been trained yet, or its packages are not installed.
    """
    if name not in REWARD_MODELS:
        return name
    folder = cache_root() / KIND / recipe_hash(reward_recipe(REWARD_MODELS[name]))
    if not folder.is_dir():
        raise ValueError(f"reward model {name!r} is not in the cache yet: `omsweep run` and `omsweep prefs` train it")
    return str(folder)


def _source_hash() -> str:
    import omsweep.preferences.smollm2
    import omsweep.worlds.everyday.positivity
    import omsweep.worlds.everyday.prompts

    digest = hashlib.sha256()
    for module in (omsweep.worlds.everyday.positivity, omsweep.worlds.everyday.prompts, omsweep.preferences.smollm2):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:16]
