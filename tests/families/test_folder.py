"""What `check` sees in a model folder: each situation with its sentence, and good folders of every kind."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from omsweep.families.folder import check_causal, check_model, stored_dtype, template_text
from omsweep.families.tiny.architecture import random_family
from omsweep.families.tiny.tokenizer import CHAT_TEMPLATE


@pytest.fixture(params=["llama", "qwen2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return random_family(tmp_path / "family", request.param, hidden_size=32, intermediate_size=32)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return random_family(tmp_path / "family", hidden_size=32, intermediate_size=32)


def configure(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", metadata={"format": "pt"})


def test_good_folders_pass(folder: Path) -> None:
    check_causal(folder, answers=True)
    assert stored_dtype(folder) == "F32"
    assert template_text(folder) == CHAT_TEMPLATE
    for file in folder.glob("*token*"):
        file.unlink()
    check_causal(folder, answers=False)
    with pytest.raises(ValueError, match=r"has no tokenizer \(tokenizer.json, .*save it beside the weights"):
        check_causal(folder, answers=True)


def test_no_torch_is_needed(llama: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from omsweep.families.folder import check_causal;"
        f"check_causal(Path({str(llama)!r}), answers=True);"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"vocab_size": 400},
            r"weights of other shapes than its config.json says: model.embed_tokens.weight \(526, 32\)",
        ),
        ({"num_hidden_layers": 3}, r"config.json says 3 layers, the files hold layers 0 to 1 \(2 of them\)"),
        ({"num_hidden_layers": 10**12}, "config.json says 1000000000000 layers"),
        ({"num_hidden_layers": 1}, "config.json says 1 layers, the files hold layers 0 to 1"),
        ({"hidden_size": 64}, r"of other shapes .*, .*, .*, .*, .* and \d+ more"),
        ({"model_type": "other", "vocab_size": 400}, "says vocab_size 400, embedding and head have 526 rows"),
        ({"model_type": None}, "must name a model_type, got None"),
        ({"is_encoder_decoder": True}, "is an encoder-decoder"),
        ({"quantization_config": {"quant_method": "gptq"}}, "is quantised .* give the unquantised model"),
    ],
)
def test_what_the_configuration_says_and_the_weights_do_not(llama: Path, changes: Any, message: str) -> None:
    configure(llama, **changes)
    with pytest.raises(ValueError, match=message):
        check_causal(llama, answers=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: {n: v for n, v in t.items() if n != "lm_head.weight"},
            "lacks weights, .*: lm_head.weight .*tie_word_emb",
        ),
        (lambda t: {n: v for n, v in t.items() if "0.mlp.up" not in n}, "lacks weights, .*layers.0.mlp.up_proj.weight"),
        (
            lambda t: {f"base_model.model.{n}": v for n, v in t.items()},
            "lacks weights.*; it holds base_model.model.lm_head",
        ),
        (lambda t: {n: v.to(torch.int8) for n, v in t.items()}, r"is quantised \(.* as I8\)"),
        (lambda t: {n: v.to(torch.float8_e4m3fn) for n, v in t.items()}, r"is quantised \(.* as F8_E4M3\)"),
    ],
)
def test_weights_that_are_not_a_model(llama: Path, change: Any, message: str) -> None:
    rewrite(llama, change)
    with pytest.raises(ValueError, match=message):
        check_causal(llama, answers=True)


def test_a_head_that_is_tied_is_not_missed(llama: Path) -> None:
    rewrite(llama, lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"})
    configure(llama, tie_word_embeddings=True)
    check_causal(llama, answers=True)


def test_an_adapter_beside_a_model_is_not_loaded_in_its_place(llama: Path) -> None:
    (llama / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds an adapter .* merge it into them"):
        check_model(llama)
    (llama / "config.json").unlink()
    with pytest.raises(ValueError, match="is no Hugging Face model folder but an adapter: merge it"):
        check_model(llama)


def test_tokens_in_use_need_a_row(llama: Path) -> None:
    content = json.loads((llama / "tokenizer.json").read_text())
    extra = content["added_tokens"][-1] | {"id": 526, "content": "<|image|>"}
    (llama / "tokenizer.json").write_text(json.dumps(content | {"added_tokens": [*content["added_tokens"], extra]}))
    check_causal(llama, answers=True)  # nothing writes it
    words = content["model"]["vocab"]
    other = content | {"model": content["model"] | {"vocab": {**words, "hello": 526}}}
    (llama / "tokenizer.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="the tokenizer's 'hello' has number 526"):
        check_causal(llama, answers=True)
    (llama / "tokenizer.json").write_text(json.dumps(content | {"added_tokens": [*content["added_tokens"], extra]}))
    (llama / "chat_template.jinja").write_text(CHAT_TEMPLATE + "<|image|>")
    with pytest.raises(
        ValueError, match=r"the tokenizer's '<\|image\|>' has number 526, the embedding 526 rows: resize"
    ):
        check_causal(llama, answers=True)


def test_a_pointer_in_place_of_the_tokenizer_is_said(llama: Path) -> None:
    (llama / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match=r"tokenizer.json is a Git LFS pointer.*git lfs pull"):
        check_causal(llama, answers=True)


def test_an_index_needs_what_transformers_asks_of_it(llama: Path) -> None:
    tensors = load_file(llama / "model.safetensors")
    (llama / "model.safetensors").rename(llama / "model-1.safetensors")
    index = {"weight_map": dict.fromkeys(tensors, "model-1.safetensors")}
    (llama / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match='index.json has no metadata.*add "metadata": {}'):
        check_model(llama)
    (llama / "model.safetensors.index.json").write_text(json.dumps(index | {"metadata": {}}))
    check_causal(llama, answers=True)
