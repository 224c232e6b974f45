"""Loading models and tokenizers, and hashing weights."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from omsweep.families.load import empty_model, load_model, load_tokenizer, weights_hash
from omsweep.families.tiny.architecture import ARCHITECTURES, random_family
from omsweep.families.tiny.tokenizer import build_tokenizer


@pytest.fixture(params=sorted(ARCHITECTURES))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return random_family(tmp_path / "family", request.param, hidden_size=32, intermediate_size=32)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_models_load_in_the_dtype_asked_for(folder: Path, dtype: str) -> None:
    model = load_model(str(folder), dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}
    assert not model.training
    assert model.config.use_cache


def test_float32_is_the_default(folder: Path) -> None:
    assert load_model(str(folder)).dtype == torch.float32


def test_transformers_loads_the_tokenizer_that_was_saved(folder: Path) -> None:
    text = 'what is 3 plus 4 ? { "tool" : " drum " }'
    load_tokenizer(str(folder)).save_pretrained(folder)
    for tokenizer in (load_tokenizer(str(folder)), AutoTokenizer.from_pretrained(folder)):
        assert tokenizer(text).input_ids == build_tokenizer()(text).input_ids
        assert tokenizer.decode(tokenizer(text).input_ids) == text
        assert (tokenizer.padding_side, tokenizer.pad_token) == ("left", "<pad>")


def test_an_unknown_dtype_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16, float16, got 'int4'"):
        load_model(str(folder), dtype="int4")


def test_models_generate(folder: Path) -> None:
    model, tokenizer = load_model(str(folder)), load_tokenizer(str(folder))
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "add 1 and 2 ."}], add_generation_prompt=True, return_tensors="pt"
    )
    assert model.generate(**asked, max_new_tokens=4, do_sample=False).shape[1] <= 13


def test_a_chat_template_replaces_the_tokenizers_own(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder), chat_template="{{ messages[0]['content'] }}")
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi"


def test_a_tokenizer_without_a_template_is_refused_and_named(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match=rf"the tokenizer of {folder} has no chat template"):
        load_tokenizer(str(folder))
    assert load_tokenizer(str(folder), chat_template="x").chat_template == "x"


def test_a_missing_pad_token_becomes_eos(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder))
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    assert load_tokenizer(str(folder)).pad_token == "</s>"


def test_the_hash_is_of_the_weights_alone(folder: Path) -> None:
    before = weights_hash(str(folder))
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    os.utime(weights, (0, 0))
    assert weights_hash(str(folder)) == before
    names = sorted(tensors)
    weights.unlink()
    save_file({name: tensors[name] for name in names[3:]}, folder / "model-1.safetensors", metadata={"note": "x"})
    save_file({name: tensors[name] for name in names[:3]}, folder / "model-2.safetensors")
    assert weights_hash(str(folder)) == before
    changed = dict(tensors)
    changed[names[0]] = changed[names[0]].clone()
    changed[names[0]].view(-1)[0] += 1e-3
    save_file({name: changed[name] for name in names[:3]}, folder / "model-2.safetensors")
    assert weights_hash(str(folder)) != before


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no \*\.safetensors file"):
        weights_hash(str(folder))


def test_seeds_give_other_weights(tmp_path: Path) -> None:
    hashes = [weights_hash(str(random_family(tmp_path / str(i), seed=seed))) for i, seed in enumerate((0, 0, 1))]
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_empty_model_has_the_names_and_shapes_of_the_loaded_one(folder: Path) -> None:
    empty, loaded = empty_model(str(folder)), load_model(str(folder))
    assert {parameter.device.type for parameter in empty.parameters()} == {"meta"}
    assert [(name, parameter.shape) for name, parameter in empty.named_parameters()] == [
        (name, parameter.shape) for name, parameter in loaded.named_parameters()
    ]


def test_weights_that_would_be_random_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks weights, which would be random: model\.norm\.weight$"):
        load_model(str(folder))


def test_numbers_beyond_float16_are_told_apart_from_infinite_ones(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][:2] = 1e6
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    load_model(str(folder), dtype="bfloat16")
    with pytest.raises(
        ValueError, match=r"^2 weights of .* overflow float16, .* 65504: model\.norm\.weight; load it in"
    ):
        load_model(str(folder), dtype="float16")
    tensors["model.norm.weight"][0] = torch.inf
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"holds 1 entries that are not finite .*: model\.norm\.weight \(1\)"):
        load_model(str(folder), dtype="float16")


def test_what_transformers_cannot_read_is_one_sentence(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ValueError, match=rf"^cannot load the tokenizer of {folder}: \w+: .*"):
        load_tokenizer(str(folder))
