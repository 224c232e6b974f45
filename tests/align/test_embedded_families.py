"""The whole way of an embedded family's data, with random weights: sample, annotate, prepare, check, train."""

from functools import partial

import pytest
from datasets import load_from_disk
from tqdm import tqdm

from omsweep.align.algorithms import ALGORITHMS
from omsweep.align.data import prepare_data
from omsweep.align.reference import score_reference
from omsweep.align.train import train
from omsweep.families.load import load_model, load_tokenizer
from omsweep.families.tiny.architecture import random_family
from omsweep.optim.settings import OnlineMerge
from omsweep.preferences.load import load_preferences
from omsweep.preferences.settings import PreferenceData

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tiny_preferences_train_both_families(algorithm, architecture, settings, tmp_path):
    folder = str(random_family(tmp_path / "sft", architecture))
    tokenizer = load_tokenizer(folder)

    def generate(prompts, samples, seed):
        return [["start with soil .", "please start with soil ."][:samples] for _ in prompts]

    preferences = load_preferences(
        PreferenceData(name="tiny", limit=32), family_key=folder, generate=generate, root=tmp_path
    )
    common = {"algorithm": algorithm, "batch_size": 16, "max_length": 64}
    data = prepare_data(preferences, model_path=folder, tokenizer=tokenizer, root=tmp_path, **common)
    model = partial(load_model, folder)
    assert score_reference(data, None, model=model, tokenizer=tokenizer, progress=tqdm)
    outcome = train(
        settings(**common, steps=20, learning_rate=4e-4, merge=OnlineMerge("adamw")),
        model=load_model(folder),
        tokenizer=tokenizer,
        data=data,
        task_vector=None,
        output_dir=tmp_path / "out",
    )
    assert outcome.state == "completed"
    assert outcome.preflight["truncated_share"] == 0.0
    assert outcome.preflight["examples"] == len(load_from_disk(preferences)) * (2 if algorithm == "kto" else 1)
    assert max(outcome.losses[-2:]) < outcome.losses[0]  # ten passes over 32 pairs are learnt by heart
