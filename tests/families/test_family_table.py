"""Naming a family: the table, mappings, and what is refused."""

import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from omsweep.families.embedded import EMBEDDED
from omsweep.families.family import ModelFamily, Resources, Stage
from omsweep.families.packaged import PACKAGED
from omsweep.families.shape import Shape, shape_of_config
from omsweep.families.table import FAMILIES, PUBLIC, family_from

EVERY_ROW = pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
SHAPE = {
    "architecture": "llama",
    "layers": 2,
    "hidden": 8,
    "intermediate": 16,
    "heads": 2,
    "kv_heads": 1,
    "vocabulary": 32,
}
LOCAL: dict[str, Any] = {"name": "mine", "base": "models/base", "sft": "models/sft"}


def test_the_families_that_are_made_here() -> None:
    assert [name for name, family in FAMILIES.items() if family.recipe] == ["tiny-llama", "tiny-qwen2", "smollm2-135m"]


def test_names_are_unique_and_usable() -> None:
    rows = (*EMBEDDED, *PACKAGED, *PUBLIC)
    assert len(FAMILIES) == len(rows)
    assert all(FAMILIES[row.name] is row and re.fullmatch(r"[a-z0-9][a-z0-9.-]*", row.name) for row in rows)


@EVERY_ROW
def test_a_row_is_complete(family: ModelFamily) -> None:
    assert family.licence
    assert family.provenance
    assert family.shape is not None
    assert family.size == family.shape.parameters  # stated by the hub, and counted from the configuration
    assert family.recipe or (family.base and family.parameters)
    assert family.aligned is None or family.preferences
    assert family.base_vocabulary != family.shape.vocabulary


@EVERY_ROW
def test_hub_ids_are_pinned_to_commits(family: ModelFamily) -> None:
    """A row without a commit follows the hub's main branch; the sweep records which commit it was."""
    follows_main = {"alignment-handbook/zephyr-7b-sft-full"}
    for path in filter(None, (family.base, family.sft)):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", path) or path in follows_main
    assert family.revision is None


@EVERY_ROW
def test_transformers_counts_the_same_parameters(family: ModelFamily) -> None:
    shape = family.shape
    assert shape is not None
    config = AutoConfig.for_model(
        shape.architecture,
        num_hidden_layers=shape.layers,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_size or shape.hidden // shape.heads,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        pad_token_id=None,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    layer = {f"model.layers.1.{name}": size for name, size in shape.in_layer().items()}
    assert sum(parameter.numel() for parameter in model.parameters()) == shape.parameters
    assert {name: tuple(parameter.shape) for name, parameter in model.named_parameters() if ".layers." not in name} == (
        shape.outside_layers()
    )
    assert layer == {name: tuple(tensor.shape) for name, tensor in model.named_parameters() if ".layers.1." in name}
    assert shape_of_config(config.to_dict()) == shape.model_copy(update={"head_size": config.head_dim})


@EVERY_ROW
def test_a_row_is_named_directly_where_its_sft_model_is_public(family: ModelFamily) -> None:
    if family.sft or family.recipe:
        assert family_from(family.name) is family
        return
    with pytest.raises(ValueError, match=rf"{family.name}' has no public SFT model; give yours: .*like: {family.name}"):
        family_from(family.name)


def test_a_family_like_a_row_has_its_sizes_but_not_its_origin() -> None:
    row = FAMILIES["qwen1.5-1.8b-chat"]
    mine = family_from({"name": "mine", "like": row.name, "sft": "models/sft"})
    assert (mine.base, mine.shape, mine.dtype, mine.resources) == (row.base, row.shape, row.dtype, row.resources)
    assert (mine.sft, mine.sft_kind, mine.licence, mine.provenance) == ("models/sft", "sft", "unknown", "unknown")
    renamed = family_from({"name": "mine", "like": row.name, "resources": {"gpus": 2}})
    assert (renamed.sft, renamed.sft_kind, renamed.resources.gpu_memory_gib) == (row.sft, "aligned", None)


def test_a_mapping_is_any_folder_or_hub_id() -> None:
    given = {**LOCAL, "revision": "main", "dtype": "bfloat16", "chat_template": "{{ messages }}", "parameters": 9}
    assert family_from(given) == ModelFamily(**given)
    nested = family_from({**LOCAL, "resources": {"gpus": 0.5}, "shape": SHAPE})
    assert (nested.resources, nested.shape) == (Resources(gpus=0.5), Shape(**SHAPE))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tiny-gpt", "family must be one of tiny-llama, tiny-qwen2, .*, or a mapping.*got 'tiny-gpt'"),
        (3, "family must be a name or a mapping, got 3"),
        ({"name": "mine", "base": "b"}, "missing: sft"),
        ({}, "missing: name, base, sft"),
        (
            {**LOCAL, "bse": "x", "zz": 1},
            "unknown keys bse, zz; allowed: name, base, sft, other_sft, revision, sft_kind, dtype, .*, like",
        ),
        ({**LOCAL, "dtype": "int8"}, "dtype must be 'float32', 'bfloat16' or 'float16', got 'int8'"),
        ({**LOCAL, "base": 7}, "base must be a valid string, got 7"),
        ({**LOCAL, "sft_kind": "rlhf"}, "sft_kind must be 'sft' or 'aligned', got 'rlhf'"),
        ({**LOCAL, "parameters": 0}, "parameters must be greater than or equal to 1, got 0"),
        ({**LOCAL, "resources": {"gpus": -1}}, r"resources\.gpus must be greater than or equal to 0, got -1"),
        ({**LOCAL, "resources": {"gpu": 1}}, r"resources\.gpu is an unknown key"),
        ({**LOCAL, "shape": {**SHAPE, "layers": 0}}, r"shape\.layers must be greater than or equal to 1, got 0"),
        ({"name": "mine", "like": "tiny-llama", "sft": "s"}, "like must be one of qwen1.5-1.8b, .* got 'tiny-llama'"),
        ({**LOCAL, "recipe": {}}, "unknown keys recipe"),
        ({**LOCAL, "name": "tiny-llama"}, "'tiny-llama' is taken"),
    ],
)
def test_what_is_refused_and_why(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        family_from(value)


@pytest.mark.parametrize("changed", [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}])
def test_a_stage_needs_positive_settings(changed: dict[str, float]) -> None:
    name, value = next(iter(changed.items()))
    with pytest.raises(ValueError, match=f"{name} must be positive, got {value}"):
        Stage(**{"steps": 1, "batch_size": 1, "learning_rate": 1.0, **changed})  # type: ignore[arg-type]


def test_the_table_needs_no_torch() -> None:
    program = (
        "import sys; from omsweep.families.table import FAMILIES, family_from\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_other_sft_models_are_further_seeds() -> None:
    family = family_from(LOCAL | {"other_sft": ["models/one", "models/two"]})
    assert (family.sft_models, family.sft_seed) == (3, 0)
    assert family.with_sft_seed(0) == family
    second = family.with_sft_seed(2)
    assert (second.sft, second.other_sft, second.sft_seed) == ("models/two", ("models/sft", "models/one"), 2)
    assert family_from(LOCAL | {"other_sft": "models/one"}).other_sft == ("models/one",)
    with pytest.raises(IndexError):
        family.with_sft_seed(3)
    with pytest.raises(ValueError, match=r"other_sft.* must be"):
        family_from(LOCAL | {"other_sft": 3})


def test_an_embedded_family_has_any_sft_seed() -> None:
    family = FAMILIES["tiny-llama"]
    assert family.sft_models is None
    assert family.with_sft_seed(5).sft_seed == 5


def test_other_sft_models_are_those_of_the_sft_model(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ModelFamily(name="row", base="b", sft="s", other_sft=("o",))
    monkeypatch.setitem(FAMILIES, "row", row)
    assert family_from({"name": "x", "like": "row"}).other_sft == ("o",)
    assert family_from({"name": "x", "like": "row", "sft": "mine"}).other_sft == ()
