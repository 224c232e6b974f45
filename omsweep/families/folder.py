"""Whether a local model folder can be what it is named as, told from its files without loading a weight. Torch-free."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omsweep.families.shape import EMBEDDING, HEAD, Shape, shape_of_config
from omsweep.merging.names import layer_of, listed
from omsweep.merging.safetensors_header import ADAPTER, INDEX, Header, folder_headers, no_model, refuse_pointer
from omsweep.merging.tokens import of_vocabulary, special_tokens, token_ids

FLOATS = ("F64", "F32", "BF16", "F16")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "*.tiktoken")
_NAMED_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


def check_model(folder: Path) -> dict[str, Header]:
    """Refuse a folder that transformers cannot load weights from; returns its tensors by name.

    Raises:
        ValueError: no readable `config.json`, an adapter, or what `folder_headers` refuses.
    """
    read_config(folder)
    if (folder / ADAPTER).is_file():
        raise ValueError(
            f"{folder} holds an adapter ({ADAPTER}), which transformers would load in place of the weights beside it:"
            " merge it into them (PEFT's merge_and_unload, then save_pretrained), or remove its files if that was done"
        )
    indexed = not (folder / "model.safetensors").is_file() and (folder / INDEX).is_file()
    if indexed and "metadata" not in read_object(folder / INDEX):
        raise ValueError(f'{folder / INDEX} has no metadata, and transformers asks for it: add "metadata": {{}}')
    return {name: header for tensors in folder_headers(folder).values() for name, header in tensors.items()}


def check_causal(folder: Path, *, answers: bool) -> None:
    """Refuse a folder that is no causal language model to train or to subtract.

    Args:
        folder: of the model.
        answers: whether its tokenizer is used too.

    Raises:
        ValueError: as `check_model`; an encoder-decoder, quantised weights, tensors that `config.json` asks for and the
            files lack, in another shape or layers that it does not count, no tokenizer, or tokens without a row.
    """
    config, tensors = read_config(folder), check_model(folder)
    if config.get("is_encoder_decoder"):
        raise ValueError(
            f"{folder} is an encoder-decoder ({config['model_type']}): only decoder-only models are trained"
        )
    whole = sorted(name for name, one in tensors.items() if name.endswith(".weight") and one.code not in FLOATS)
    if whole or config.get("quantization_config"):
        what = f"{listed(whole)} as {tensors[whole[0]].code}" if whole else "quantization_config in its config.json"
        raise ValueError(
            f"{folder} is quantised ({what}), and such weights are not trained: give the unquantised model"
        )
    shape = shape_of_config(config)
    if shape is not None and EMBEDDING.removeprefix("model.") not in tensors:  # a bare model has no `model.`
        _check_shape(folder, tensors, shape)
    rows = {one.shape[0] for name, one in tensors.items() if of_vocabulary(name) and len(one.shape) == 2}
    if isinstance(config.get("vocab_size"), int) and rows and rows != {config["vocab_size"]}:
        raise ValueError(
            f"{folder}: config.json says vocab_size {config['vocab_size']}, embedding and head have"
            f" {listed(map(str, sorted(rows)))} rows"
        )
    if answers:
        _check_tokenizer(folder, max(rows, default=None))


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's `config.json`; ValueError where it is missing, cannot be read or names no `model_type`."""
    file = folder / "config.json"
    if not file.is_file():
        raise ValueError(no_model(folder))
    config = read_object(file)
    if not isinstance(config.get("model_type"), str):
        raise ValueError(f"{file} must name a model_type, got {config.get('model_type')!r}")
    return config


def read_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file; ValueError for anything else."""
    try:
        content = json.loads(_text(file))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} must hold a JSON object, got {type(content).__name__}")
    return content


def stored_dtype(folder: Path) -> str:
    """The dtype of most of a folder's weights, as the safetensors format calls it."""
    sizes: dict[str, int] = {}
    for tensor in check_model(folder).values():
        sizes[tensor.code] = sizes.get(tensor.code, 0) + tensor.size
    return max(sizes, key=lambda code: sizes[code])


def _check_shape(folder: Path, tensors: Mapping[str, Header], shape: Shape) -> None:
    """Refuse weights that are not those of the configuration, as transformers names them."""
    if lacking := [name for name in shape.outside_layers() if name not in tensors]:
        head = " (config.json does not tie it to the embedding: tie_word_embeddings)" if lacking == [HEAD] else ""
        raise ValueError(
            f"{folder} lacks weights, which would be random: {listed(lacking)}{head}; it holds"
            f" {listed(sorted(tensors))}"
        )
    there = {layer[1] for layer in map(layer_of, tensors) if layer is not None and layer[0] == "model.layers"}
    if there != set(range(min(shape.layers, len(tensors) + 1))):
        raise ValueError(f"{folder}: config.json says {shape.layers} layers, the files hold {_runs(there)}")
    wanted = shape.outside_layers()
    wanted |= {f"model.layers.{n}.{name}": size for n in sorted(there) for name, size in shape.in_layer().items()}
    if lacking := [name for name in wanted if name not in tensors]:
        raise ValueError(f"{folder} lacks weights, which would be random: {listed(lacking)}")
    other = [
        f"{name} {tensors[name].shape} instead of {size}"
        for name, size in wanted.items()
        if tensors[name].shape != size
    ]
    if other:
        raise ValueError(f"{folder} has weights of other shapes than its config.json says: {listed(other)}")


def _runs(numbers: set[int]) -> str:
    return f"layers {min(numbers)} to {max(numbers)} ({len(numbers)} of them)" if numbers else "none"


def _check_tokenizer(folder: Path, rows: int | None) -> None:
    """Refuse a folder without a tokenizer, or with tokens in use that the embedding has no row for."""
    files = sorted(file for pattern in TOKENIZERS for file in folder.glob(pattern))
    if not files:
        raise ValueError(f"{folder} has no tokenizer ({', '.join(TOKENIZERS)}): save it beside the weights")
    for file in files:
        refuse_pointer(file)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (folder / name).is_file():
            read_object(folder / name)
    known = token_ids(folder)
    if known is None or rows is None:
        return
    # tokens that no text becomes may lie beyond the rows: Gemma 3's text models have one for images
    added, text = special_tokens(folder), f"{template_text(folder)} {' '.join(named_tokens(folder).values())}"
    used = [token for token, number in known.items() if number >= rows and (token not in added or token in text)]
    if used:
        token = min(used)
        raise ValueError(
            f"{folder}: the tokenizer's {token!r} has number {known[token]}, the embedding {rows} rows: resize it"
            " before SFT (resize_token_embeddings), or take the tokenizer that belongs to the weights"
        )


def named_tokens(folder: Path) -> dict[str, str]:
    """A tokenizer's `bos_token`, `eos_token` and so on, those that it names."""
    settings: dict[str, Any] = {}
    for file in (folder / "special_tokens_map.json", folder / "tokenizer_config.json"):
        settings |= read_object(file) if file.is_file() else {}
    given = {name: settings.get(name) for name in _NAMED_TOKENS}
    texts = {name: token.get("content") if isinstance(token, dict) else token for name, token in given.items()}
    return {name: token for name, token in texts.items() if isinstance(token, str)}


def template_text(folder: Path) -> str | None:
    """The chat template of a folder's tokenizer, None where it has none."""
    own = folder / "chat_template.jinja"
    if own.is_file():
        return _text(own)
    file = folder / "tokenizer_config.json"
    found = read_object(file).get("chat_template") if file.is_file() else None
    if isinstance(found, list):  # several by name
        found = next(
            (one.get("template") for one in found if isinstance(one, dict) and one.get("name") == "default"), None
        )
    return found if isinstance(found, str) else None


def _text(file: Path) -> str:
    refuse_pointer(file)
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read as UTF-8: {error}") from error
