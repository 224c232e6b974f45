"""Trains an embedded family once and keeps it in the cache: one folder for the base model, one per SFT seed."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

import omsweep.families.tiny
import omsweep.worlds.tiny
from omsweep.cache import build_once, recipe_hash
from omsweep.families.family import Stage, TinyRecipe
from omsweep.families.tiny.architecture import build_model, write_folder
from omsweep.families.tiny.tokenizer import build_tokenizer
from omsweep.families.tiny.training import Batch, ProgressBar, conversation_batches, raw_batches, train_stage
from omsweep.quiet import without_transformers_bars

MakeProgress = Callable[..., ProgressBar]
MakeBatches = Callable[[PreTrainedTokenizerFast, Stage], Iterator[Batch]]
KIND = "families"


def build_base(recipe: TinyRecipe, *, progress: MakeProgress) -> Path:
    """The folder of the pretrained model, trained first if the cache has none.

    Args:
        recipe: how it is trained.
        progress: `progress(total=steps, desc=...)` makes a bar with `update(n)` and `close()`; tqdm is one.
    """

    def build(folder: Path) -> None:
        model = build_model(recipe.architecture, build_tokenizer(), seed=recipe.seed)
        _train(model, raw_batches, recipe.pretraining, folder, progress(**_bar(recipe, "base", recipe.pretraining)))

    return build_once(KIND, _base_recipe(recipe), build)


def build_sft(recipe: TinyRecipe, sft_seed: int, *, progress: MakeProgress) -> Path:
    """The folder of the model fine-tuned on conversations drawn with `sft_seed`, trained first if there is none."""
    stage = replace(recipe.sft, seed=sft_seed)

    def build(folder: Path) -> None:
        base = build_base(recipe, progress=progress)
        with without_transformers_bars():
            model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
        _train(model, conversation_batches, stage, folder, progress(**_bar(recipe, "SFT", stage)))

    return build_once(KIND, {"stage": "sft", "sft": asdict(stage), "base": recipe_hash(_base_recipe(recipe))}, build)


def _bar(recipe: TinyRecipe, what: str, stage: Stage) -> dict[str, Any]:
    return {"total": stage.steps, "desc": f"tiny {recipe.architecture} {what}"}


def _base_recipe(recipe: TinyRecipe) -> dict[str, Any]:
    settings = asdict(recipe)
    del settings["sft"]
    return {"stage": "base", **settings, "source": source_hash()}


def source_hash() -> str:
    """Sixteen hex digits over the source of the world and of the training: other code is another recipe."""
    digest = hashlib.sha256()
    for package in (omsweep.worlds.tiny, omsweep.families.tiny):
        folder = Path(package.__path__[0])
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _train(model: PreTrainedModel, batches: MakeBatches, stage: Stage, folder: Path, bar: ProgressBar) -> None:
    tokenizer = build_tokenizer()
    try:
        with _one_thread():
            train_stage(model, batches(tokenizer, stage), stage, on_step=lambda _: bar.update(1))
    finally:
        bar.close()
    write_folder(model, tokenizer, folder)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order whatever the machine: the number of threads would change the last bits of the weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
