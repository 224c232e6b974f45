"""What `omsweep families` prints. Torch-free."""

import argparse
import json
from dataclasses import asdict, fields
from typing import Any

from rich.table import Table

from omsweep.commands import DONE
from omsweep.console import Console, say
from omsweep.families.family import ModelFamily, PackagedRecipe
from omsweep.families.table import FAMILIES

SHORT_COMMIT = 7
TABLE_WIDTH = 200


def execute(options: argparse.Namespace) -> int:
    """List the families a search space can name, and say how to name one's own; as JSON with every field."""
    if options.json:
        say(json.dumps([family_fields(family) for family in FAMILIES.values()], indent=2))
        return DONE
    table = Table("family", "base", "SFT model", "kind", box=None, pad_edge=False)
    for title in ("parameters", "dtype", "licence", "gated", "per worker"):
        table.add_column(title, justify="right" if title == "parameters" else "left")
    for family in FAMILIES.values():
        table.add_row(*_row(family))
    Console(highlight=False, width=TABLE_WIDTH).print(table)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print("any other causal LM: families: [{name: mine, base: FOLDER_OR_HUB_ID, sft: FOLDER_OR_HUB_ID}]")
    console.print("a row with an SFT model of your own: families: [{name: mine, like: qwen1.5-1.8b, sft: ...}]")
    return DONE


def family_fields(family: ModelFamily) -> dict[str, Any]:
    """A family as plain data: every field and its number of parameters."""
    plain = {field.name: getattr(family, field.name) for field in fields(family)}
    return plain | {
        "parameters": family.size,
        "shape": family.shape.model_dump() if family.shape else None,
        "decoding": family.decoding.model_dump(mode="json"),
        "resources": family.resources.model_dump(),
        "recipe": asdict(family.recipe) if family.recipe else None,
    }


def _row(family: ModelFamily) -> tuple[str, ...]:
    trained = "trained here, cached"
    packaged = f"package {family.recipe.distribution}" if isinstance(family.recipe, PackagedRecipe) else None
    gated = {True: "yes", False: "no", None: "unknown"}[family.gated]
    return (
        family.name,
        _short(family.base) or packaged or trained,
        trained if family.recipe else _short(family.sft) or "yours (none is public)",
        family.sft_kind,
        f"{family.size:,}" if family.size else "unknown",
        family.dtype,
        family.licence.partition(";")[0],
        gated,
        _resources(family),
    )


def _short(path: str) -> str:
    """A hub id with its commit cut to a few digits."""
    name, _, commit = path.partition("@")
    return f"{name}@{commit[:SHORT_COMMIT]}" if commit else name


def _resources(family: ModelFamily) -> str:
    declared = {name: value for name, value in family.resources if value is not None}
    return ", ".join(f"{name} {value:g}" for name, value in declared.items()) or "-"
