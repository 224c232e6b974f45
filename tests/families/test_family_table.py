"""Naming a family: the table, mappings, and what is refused."""

import subprocess
import sys
from typing import Any

import pytest

from omsweep.families.family import ModelFamily, Stage
from omsweep.families.table import FAMILIES, family_from

LOCAL = {"name": "mine", "base": "models/base", "sft": "models/sft"}


def test_the_embedded_families() -> None:
    assert list(FAMILIES) == ["tiny-llama", "tiny-qwen2"]
    assert all(family_from(name) is family and family.name == name for name, family in FAMILIES.items())


def test_a_mapping_is_any_folder_or_hub_id() -> None:
    given = {**LOCAL, "revision": "main", "dtype": "bfloat16", "chat_template": "{{ messages }}"}
    assert family_from(given) == ModelFamily(**given)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tiny-gpt", "family must be one of tiny-llama, tiny-qwen2, or a mapping.*got 'tiny-gpt'"),
        (3, "family must be a name or a mapping, got 3"),
        ({"name": "mine", "base": "b"}, "missing: sft"),
        ({}, "missing: name, base, sft"),
        (
            {**LOCAL, "bse": "x", "zz": 1},
            "unknown keys bse, zz; allowed: name, base, sft, revision, dtype, chat_template",
        ),
        ({**LOCAL, "dtype": "int8"}, "dtype must be one of float32, bfloat16, float16, got 'int8'"),
        ({**LOCAL, "base": 7}, "base must be text, got 7"),
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
        "import sys; from omsweep.families import FAMILIES, family_from\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
