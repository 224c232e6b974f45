"""The estimate of a worker's memory: a closed form by hand, what autograd really keeps, and the real state."""

import pytest
import torch
import trl.kernels.chunked_logprob
import trl.trainer.utils
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from omsweep.families.shape import shape_of_config
from omsweep.families.table import FAMILIES
from omsweep.families.tiny.architecture import build_model
from omsweep.families.tiny.tokenizer import build_tokenizer
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.task_vector import task_vector
from omsweep.space.memory import (
    TOKEN_CHUNK,
    VOCABULARY_CHUNK,
    Load,
    activation_bytes,
    logit_bytes,
    training_bytes,
)

ONDARE = OnlineMerge("ondare", semantics="equations", alpha=1e-4, density=0.5)
ADAMW = OnlineMerge("adamw")


def load(**changes: object) -> Load:
    family = FAMILIES["olmo-2-1b"]
    usual = {
        "parameters": family.size,
        "shape": family.shape,
        "dtype": "bfloat16",
        "tau_dtype": "float32",
        "sequences": 4,
        "max_length": 512,
    }
    return Load(**{**usual, **changes})  # type: ignore[arg-type]


def test_olmo_2_1b_by_hand() -> None:
    """1,484,916,736 parameters, 2,048 tokens, 16 layers of hidden 2048, MLP 8192, 16 heads, vocabulary 100,352."""
    n, tokens = 1_484_916_736, 4 * 512
    norm = (4 + 2 * 2) * 2048  # float32 copy, normalised, output
    layer = 2 * norm + 4 * 2 * 2048 + 4 * 2 * 8192 + 4 * 16 + (4 + 2) * (2048 + 2048)
    assert training_bytes(load(), ONDARE.resolved(), pilot=False) == {
        "weights": 2 * n,
        "gradients": 2 * n,
        "moments": 8 * n,
        "master bits": 2 * n,
        "task vector": 4 * n,
        "activations": tokens * (16 * layer + norm),
        "logits": tokens * 32768 * 2 + 4 * 2048 * (100_352 + tokens),
    }


def test_what_settings_add_and_take_away() -> None:
    n = load().parameters
    full = training_bytes(load(dtype="float32"), ONDARE.resolved(), pilot=False)
    assert "master bits" not in full
    assert training_bytes(load(tau_dtype="bfloat16"), ONDARE.resolved(), pilot=False)["task vector"] == 2 * n
    assert "task vector" not in training_bytes(load(), ADAMW.resolved(), pilot=False)
    anchored = OnlineMerge("anchor", alpha=0.1).resolved()
    assert training_bytes(load(), anchored, pilot=False)["reference weights"] == 2 * n
    gapped = OnlineMerge("linear", alpha=0.1, gap_steps=5).resolved()
    assert training_bytes(load(), gapped, pilot=False)["gap sum"] == 4 * n
    together = training_bytes(load(workers=4), ADAMW.resolved(), pilot=False)
    assert together["gradient buckets"] == 2 * n
    sharded = training_bytes(load(workers=4, sharded=True), ONDARE.resolved(), pilot=False)
    assert "gradient buckets" not in sharded
    for name in ("weights", "gradients", "moments", "master bits", "task vector"):
        assert sharded[name] == training_bytes(load(), ONDARE.resolved(), pilot=False)[name] / 4
    unknown = training_bytes(load(shape=None), ADAMW.resolved(), pilot=False)
    assert not {"activations", "logits"} & unknown.keys()


def test_a_pilot_counts_where_it_needs_more_than_the_training() -> None:
    n = load().parameters
    merge = OnlineMerge("onties", semantics="equations", alpha=1e-4, density=0.5).resolved()
    piloted = training_bytes(load(), merge, pilot=True)
    assert (piloted["weights set aside"], piloted["displacements"]) == (2 * n, 4 * n)
    assert "task vector" not in piloted
    gapped = OnlineMerge("onties", semantics="equations", alpha=1e-4, density=0.5, gap_steps=2).resolved()
    assert "task vector" in training_bytes(load(), gapped, pilot=True)


def test_checkpoints_keep_one_layer_and_the_inputs_of_all() -> None:
    shape = load().shape
    assert shape is not None
    whole, kept = (activation_bytes(shape, tokens=512, dtype="bfloat16", checkpointed=c) for c in (False, True))
    layer = whole / shape.layers
    assert layer < kept < 2 * layer


def test_logits_are_scored_in_the_chunks_of_the_pinned_trl() -> None:
    assert trl.kernels.chunked_logprob.TOKEN_CHUNK_SIZE == TOKEN_CHUNK
    assert trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE == VOCABULARY_CHUNK
    shape = load().shape
    assert shape is not None
    assert logit_bytes(shape, tokens=10, dtype="bfloat16") == 2 * 10 * 32768 + 4 * 2048 * (100_352 + 10)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2", "qwen3", "olmo2"])
def test_activations_are_what_autograd_keeps(architecture: str, dtype: str) -> None:
    model = small_model(architecture, dtype)
    shape = shape_of_config(model.config.to_dict())
    assert shape is not None
    ids = torch.randint(0, shape.vocabulary, (4, 128), generator=torch.Generator().manual_seed(0))
    kept = bytes_kept(model, ids)
    assert activation_bytes(shape, tokens=ids.numel(), dtype=dtype) == pytest.approx(kept, rel=0.15)


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_moments_and_task_vector_are_as_large_as_estimated(name: str, dtype: str) -> None:
    shape = FAMILIES[name].shape
    assert shape is not None
    base, model = (
        build_model(shape.architecture, build_tokenizer(), seed=seed).to(getattr(torch, dtype)) for seed in (0, 1)
    )
    tau = task_vector(base, model)
    optimizer = OnlineMergeAdamW(model.named_parameters(), ONDARE, task_vector=tau, lr=1e-3, path="plain")
    model(torch.arange(6)[None], labels=torch.arange(6)[None]).loss.backward()
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    real = sum(t.numel() * t.element_size() for t in (*model.parameters(), *gradients, *states, *tau.values()))
    counted = load(parameters=FAMILIES[name].size, shape=None, dtype=dtype)
    estimated = sum(training_bytes(counted, ONDARE.resolved(), pilot=False).values())
    assert estimated == pytest.approx(real, rel=0.02)  # diagnostics watch some entries beside


def small_model(architecture: str, dtype: str) -> PreTrainedModel:
    config = AutoConfig.for_model(
        architecture,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=16,
        vocab_size=512,
        pad_token_id=None,
    )
    return AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype)).train()


def bytes_kept(model: PreTrainedModel, ids: torch.Tensor) -> int:
    """Bytes of distinct storages that a forward pass saves for its backward pass, parameters left out."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
