"""The table of families, and how a search space names one that is not in it. Plain data, no torch."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omsweep.families.family import ModelFamily, Stage, TinyRecipe

_PRETRAINING = Stage(steps=400, batch_size=16, learning_rate=5e-3)
_SFT = Stage(steps=750, batch_size=16, learning_rate=4e-3)

FAMILIES: dict[str, ModelFamily] = {
    family.name: family
    for family in (
        ModelFamily(name="tiny-llama", recipe=TinyRecipe(architecture="llama", pretraining=_PRETRAINING, sft=_SFT)),
        ModelFamily(name="tiny-qwen2", recipe=TinyRecipe(architecture="qwen2", pretraining=_PRETRAINING, sft=_SFT)),
    )
}

_KEYS = tuple(field.name for field in fields(ModelFamily) if field.name not in ("recipe", "sft_seed"))


def family_from(value: str | Mapping[str, Any]) -> ModelFamily:
    """The family that a search space means.

    Args:
        value: a name in `FAMILIES`, or a mapping with `name`, `base`, `sft` (folders or hub ids) and optionally
            `revision`, `dtype`, `chat_template`.

    Raises:
        ValueError: an unknown name, an unknown or missing key, or a value that is not allowed; it says what is.
    """
    if isinstance(value, str):
        if value not in FAMILIES:
            known = ", ".join(FAMILIES)
            raise ValueError(f"family must be one of {known}, or a mapping with name, base and sft, got {value!r}")
        return FAMILIES[value]
    if not isinstance(value, Mapping):
        raise ValueError(f"family must be a name or a mapping, got {value!r}")
    unknown = sorted(str(key) for key in set(value) - set(_KEYS))
    if unknown:
        raise ValueError(f"family has unknown keys {', '.join(unknown)}; allowed: {', '.join(_KEYS)}")
    missing = [key for key in ("name", "base", "sft") if not value.get(key)]
    if missing:
        raise ValueError(f"family needs name, base and sft; missing: {', '.join(missing)}")
    if value["name"] in FAMILIES:
        raise ValueError(f"family name {value['name']!r} is taken by an embedded family; choose another")
    not_text = [key for key, given in value.items() if given is not None and not isinstance(given, str)]
    if not_text:
        raise ValueError(f"family {value['name']!r}: {not_text[0]} must be text, got {value[not_text[0]]!r}")
    return ModelFamily(**value)
