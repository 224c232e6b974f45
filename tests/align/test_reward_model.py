"""A reward model of a few layers: trained by TRL, saved as a classifier, better on what it was trained on."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from omsweep.align.reward_model import first_layers, reward_steps, train_reward_model
from omsweep.evaluation.scorers.reward_model import RewardModelScorer
from omsweep.families.load import load_model, load_tokenizer
from omsweep.families.tiny.architecture import random_family

WORDS = ["red", "blue", "green", "small", "large", "old"]


def pair(number: int) -> dict[str, object]:
    prompt = f"what is {number % 7} plus {number % 5} ?"
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": f"good {WORDS[number % 6]}"}],
        "rejected": [{"role": "assistant", "content": f"bad {WORDS[number % 6]}"}],
    }


PAIRS = [pair(number) for number in range(40)]


def test_it_learns_what_is_chosen_and_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    start = random_family(tmp_path / "start", "llama", hidden_size=32, intermediate_size=32, num_hidden_layers=3)
    tokenizer = load_tokenizer(str(start))
    before, steps = torch.get_rng_state(), []
    settings = {"epochs": 8, "batch_size": 8}
    summary = train_reward_model(
        PAIRS,
        start=str(start),
        layers=2,
        tokenizer=tokenizer,
        learning_rate=3e-3,
        seed=0,
        output=tmp_path / "judge",
        on_step=steps.append,
        **settings,
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert sum(steps) == reward_steps(len(PAIRS), **settings) == 32
    assert (summary["pairs"], summary["held_out"]) == (32, 8)
    assert summary["accuracy"] == summary["accuracy_held_out"] == 1
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "judge")
    assert (saved.config.num_hidden_layers, saved.config.num_labels) == (2, 1)
    scorer = RewardModelScorer(str(tmp_path / "judge"), revision=None, dtype="float32")
    chat = [{"role": "user", "content": "what is 3 plus 4 ?"}]
    good, bad = scorer.score([chat, chat], ["good red", "bad red"])
    assert good > bad


def test_the_layers_are_those_of_the_model(tmp_path: Path) -> None:
    start = random_family(tmp_path / "start", "llama", hidden_size=32, intermediate_size=32, num_hidden_layers=3)
    whole, kept = load_model(str(start)).state_dict(), first_layers(str(start), layers=1, seed=0).state_dict()
    shared = [name for name in kept if name in whole]
    assert any(".layers.0." in name for name in shared)
    assert not any(".layers.1." in name for name in kept)
    assert all(torch.equal(kept[name], whole[name]) for name in shared)
    assert set(kept) - set(shared) == {"score.weight"}
    again = first_layers(str(start), layers=1, seed=0).state_dict()
    assert torch.equal(kept["score.weight"], again["score.weight"])


def test_too_few_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a reward model needs at least 10 pairs, got 3"):
        train_reward_model(
            PAIRS[:3], start="nowhere", layers=1, tokenizer=None, epochs=1, batch_size=1, learning_rate=1e-3, seed=0,
            output=tmp_path, on_step=print,
        )  # fmt: skip
