"""A policy's folder scored by a server: the SFT model too, recorded, and nothing of it is left."""

import sys
from pathlib import Path

import pytest

from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.spread import Models
from omsweep.families.decoding import resolved_decoding
from omsweep.families.load import load_model, load_tokenizer, weights_hash
from omsweep.store.records import Prepared
from omsweep.trial.checkpoint import score_checkpoint
from omsweep.trial.scoring import score_splits

STUB = Path(__file__).with_name("stub_server.py")
pytestmark = pytest.mark.slow


@pytest.fixture
def prepared(saved, tokenizer, llama):
    decoding = resolved_decoding(tokenizer, llama.generation_config)
    return Prepared(
        base=str(saved),
        sft=str(saved),
        weights_hash=weights_hash(str(saved)),
        dtype="float32",
        chat_template=tokenizer.get_chat_template(),
        decoding=decoding.model_dump(mode="json"),
    )


def evaluate(suite_path, prompts_file, how):
    command = f"{sys.executable} {STUB} {{model}} {{port}} {how}"
    return EvaluateSettings(
        tax=str(suite_path),
        reward={"scorer": "tiny", "prompts": str(prompts_file)},
        samples=1,
        max_new_tokens=4,
        limit=2,
        backend={"name": "openai", "command": command, "prompt_logprobs": True},
    )


def test_a_policy_and_its_sft_model(prepared, suite_path, prompts_file, saved):
    asked = evaluate(suite_path, prompts_file, "model")
    models = Models(None, load_tokenizer(str(saved)), folder=str(saved))
    frame, fields = score_splits(asked, prepared, models, ("search",))
    assert fields["backend"] == {
        "name": "openai",
        "command": asked.backend.command,
        "owned_by": "stub",
        "version": "1.2",
    }
    assert (fields["reward"], fields["tax"], fields["kl"]) == (0.0, 0.0, None)
    again, numbers = score_checkpoint(asked, prepared, str(saved), "search")
    assert again.equals(frame)
    assert numbers["tax"] == 0.0
    in_process = EvaluateSettings(**{**vars(asked), "backend": "transformers"})
    here = Models(load_model(str(saved)), models.tokenizer)
    _, fields = score_splits(in_process, prepared, here, ("search",))
    assert fields["backend"] is None


def test_one_that_dies_is_said(prepared, suite_path, prompts_file, saved):
    models = Models(None, load_tokenizer(str(saved)), folder=str(saved))
    with pytest.raises(ValueError, match="ended with status 7: out of memory, says the server"):
        score_splits(evaluate(suite_path, prompts_file, "dies-later"), prepared, models, ("search",))
