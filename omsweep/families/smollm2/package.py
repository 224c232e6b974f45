"""A package's GGUF file as an ordinary folder of safetensors, float32."""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from omsweep.extras import require
from omsweep.families.family import PackagedRecipe


def packaged_version(recipe: PackagedRecipe) -> str:
    """The installed version of the package; ValueError when something is missing."""
    require(f"the model of {recipe.distribution}", recipe.modules)
    return version(recipe.distribution)


def write_unpacked(recipe: PackagedRecipe, folder: Path) -> None:
    """Load the file through transformers, which converts its weights to float32, and save model and tokenizer.

    Raises:
        ValueError: the package or `gguf` is not installed, or the package has no such file.
    """
    source = _folder(recipe)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=recipe.file)
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=recipe.file, dtype=torch.float32)
    # The weights are quantised no longer; a folder that says so could neither be saved nor loaded.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _folder(recipe: PackagedRecipe) -> Path:
    require(f"the model of {recipe.distribution}", recipe.modules)
    found = find_spec(recipe.module)  # its own code wants llama.cpp, which is not needed for the file
    assert found is not None
    for place in found.submodule_search_locations or ():
        if (Path(place) / recipe.file).is_file():
            return Path(place)
    raise ValueError(f"package {recipe.distribution} has no file {recipe.file}: another version is needed")
