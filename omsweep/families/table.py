"""The table of families, and how a search space names one that is not in it. Plain data, no torch."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from omsweep.families.decoding import DecodingSettings
from omsweep.families.embedded import EMBEDDED
from omsweep.families.family import ModelFamily, Resources
from omsweep.families.packaged import PACKAGED
from omsweep.families.shape import Shape

PUBLIC = TypeAdapter(tuple[ModelFamily, ...]).validate_python(
    yaml.safe_load(Path(__file__).with_name("public.yaml").read_text(encoding="utf-8"))
)

FAMILIES: dict[str, ModelFamily] = {family.name: family for family in (*EMBEDDED, *PACKAGED, *PUBLIC)}

LIKE = "like"
"""The key of a mapping that names the row of the table whose values it starts from."""

_OF_THE_SFT_MODEL = ("sft", "other_sft", "sft_kind", "licence", "aligned", "base_vocabulary")
_KEYS = tuple(field.name for field in fields(ModelFamily) if field.name not in ("recipe", "sft_seed"))


_NESTED: Mapping[str, type[BaseModel]] = {"decoding": DecodingSettings, "resources": Resources, "shape": Shape}


def family_from(value: str | Mapping[str, Any]) -> ModelFamily:
    """The family that a search space means.

    Args:
        value: a name in `FAMILIES`, or a mapping of `ModelFamily`'s fields with at least `name`, `base` and `sft`
            (folders or hub ids). With `like: ROW` what is left out is that row's, which must not be an embedded one.

    Raises:
        ValueError: an unknown name, an unknown or missing key, or a value that is not allowed; it says what is.
    """
    if isinstance(value, str):
        return _named(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"family must be a name or a mapping, got {value!r}")
    unknown = sorted(str(key) for key in set(value) - {LIKE, *_KEYS})
    if unknown:
        raise ValueError(f"family has unknown keys {', '.join(unknown)}; allowed: {', '.join((*_KEYS, LIKE))}")
    content = _row(value[LIKE], own_sft="sft" in value) if LIKE in value else {}
    content |= {key: given for key, given in value.items() if key != LIKE}
    missing = [key for key in ("name", "base", "sft") if not content.get(key)]
    if missing:
        raise ValueError(f"family needs name, base and sft; missing: {', '.join(missing)}")
    if content["name"] in FAMILIES:
        raise ValueError(f"name {content['name']!r} is taken by a family of the table; choose another")
    return _checked(content)


def _named(name: str) -> ModelFamily:
    if name not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ValueError(f"family must be one of {known}, or a mapping with name, base and sft, got {name!r}")
    family = FAMILIES[name]
    if family.recipe is None and not family.sft:
        raise ValueError(
            f"family {name!r} has no public SFT model; give yours: "
            f"{{name: mine, {LIKE}: {name}, sft: FOLDER_OR_HUB_ID}}"
        )
    return family


def _row(name: object, *, own_sft: bool) -> dict[str, Any]:
    """What a family that is `like` a row starts from; with an SFT model of its own not what is said of the row's."""
    known = [row.name for row in FAMILIES.values() if row.recipe is None]
    if name not in known:
        raise ValueError(f"{LIKE} must be one of {', '.join(known)}, got {name!r}")
    left_out = ("name", "provenance", *(_OF_THE_SFT_MODEL if own_sft else ()))
    return {key: getattr(FAMILIES[str(name)], key) for key in _KEYS if key not in left_out}


def _checked(content: Mapping[str, Any]) -> ModelFamily:
    try:
        return TypeAdapter(ModelFamily).validate_python(dict(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "family"
        what = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            allowed = ", ".join(_NESTED[str(first["loc"][0])].model_fields)
            raise ValueError(f"{where} is an unknown key; allowed: {allowed}") from None
        raise ValueError(f"{where} must be {what}, got {first['input']!r}") from None
