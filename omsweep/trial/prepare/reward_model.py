"""Embedded reward models, trained once: pairs of an SFT model's answers, labelled, then TRL's trainer."""

import json
from pathlib import Path
from typing import Any

from omsweep.cache import build_once
from omsweep.evaluation.rewards.reward_models import KIND, REWARD_MODELS, EmbeddedRewardModel, reward_recipe
from omsweep.evaluation.settings import RewardSettings

SUMMARY_FILE = "summary.json"
GENERATION_BATCH = 32


def build_reward_model(reward: RewardSettings, *, progress: Any) -> None:
    """Have the reward model here that `reward` names: trained once if it is embedded, downloaded if it is a hub id.

    Nothing for a scorer without one.

    Args:
        reward: the scorer's settings.
        progress: `progress(total=..., desc=...)` makes a bar with `update(n)` and `close()`.

    Raises:
        ValueError: its packages are not installed, or it is no folder and no hub id that can be reached.
    """
    from omsweep.families.load import find

    model = REWARD_MODELS.get(reward.model or "")
    if model is None and reward.model is not None:
        find(reward.model, revision=reward.revision)
    elif model is not None:
        build_once(KIND, reward_recipe(model), lambda folder: _train(model, folder, progress))


def _train(model: EmbeddedRewardModel, folder: Path, progress: Any) -> None:
    from omsweep.align.reward_model import reward_steps, train_reward_model
    from omsweep.families.load import load_tokenizer, prepare

    sft = prepare(model.family, progress=progress).sft
    tokenizer = load_tokenizer(sft)
    pairs = _pairs(model, sft, tokenizer, progress)
    settings = {"epochs": model.epochs, "batch_size": model.batch_size}
    bar = progress(total=reward_steps(len(pairs), **settings), desc=f"{model.name}: training")
    try:
        summary = train_reward_model(
            pairs,
            start=sft,
            layers=model.layers,
            tokenizer=tokenizer,
            learning_rate=model.learning_rate,
            seed=model.seed,
            output=folder,
            on_step=bar.update,
            **settings,
        )
    finally:
        bar.close()
    (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")


def _pairs(model: EmbeddedRewardModel, sft: str, tokenizer: Any, progress: Any) -> list[dict[str, Any]]:
    """Labelled pairs of the SFT model's answers to the judge's own prompts."""
    from omsweep.evaluation.generation import generate
    from omsweep.families.load import load_model
    from omsweep.preferences.smollm2 import pairs_of
    from omsweep.trial.models import placed

    bar = progress(total=model.prompts * model.samples, desc=f"{model.name}: answers")

    def sample(prompts: Any, samples: int, seed: int) -> list[list[str]]:
        drawn = generate(
            placed(load_model(sft)),
            tokenizer,
            prompts,
            samples=samples,
            max_new_tokens=model.max_new_tokens,
            seed=seed,
            batch_size=GENERATION_BATCH,
            on_finished=bar.update,
        )
        return [[completion.text for completion in row] for row in drawn]

    try:
        return pairs_of("judge", sample, prompts=model.prompts, samples=model.samples, seed=model.seed)
    finally:
        bar.close()
