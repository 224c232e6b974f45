"""docs/search-space.md names every key of a search space and its default."""

import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from omsweep.merging.methods import METHODS
from omsweep.preferences.settings import PreferenceData
from omsweep.space import schema
from omsweep.space.branches import REQUIRED_KNOBS, SHARED_KNOBS, TRAIN_KNOBS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "search-space.md").read_text()
ROWS = dict(re.findall(r"^\| `([\w.]+)` \| (.+?) \|", PAGE, flags=re.MULTILINE))
SECTIONS = {
    "design.": schema.Design,
    "search.": schema.Search,
    "search.constraints.NAME.": schema.Bound,
    "posthoc.NAME.": schema.Posthoc,
    "comparison.": schema.Comparison,
}


def _defaults(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in section.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield prefix + name, "see below"
            yield from _defaults(type(field.default), f"{prefix}{name}.")
        else:
            yield prefix + name, _shown(field.default, PydanticUndefined)


def _shown(default: Any, required: object) -> str:
    return "*required*" if default is required else f"`{json.dumps(default)}`"


def test_every_key_is_there_with_its_default() -> None:
    expected = dict(_defaults(schema.SpaceFile, ""))
    for prefix, section in SECTIONS.items():
        expected |= dict(_defaults(section, prefix))
    expected |= {f"preferences.{field.name}": _shown(field.default, MISSING) for field in fields(PreferenceData)}
    shared = {key: shown for key, shown in ROWS.items() if key.startswith("space.")}
    assert {key: shown for key, shown in ROWS.items() if key in expected or "." in key} == expected | shared


def test_every_knob_is_there() -> None:
    named = set(re.findall(r"`(?:space\.)?(\w+)`", PAGE[PAGE.index("## `space`") : PAGE.index("## `design`")]))
    assert set(SHARED_KNOBS) | set(METHODS) <= named
    assert {f"space.{name}" for name in REQUIRED_KNOBS} <= {key for key, shown in ROWS.items() if shown == "*required*"}
    assert set(TRAIN_KNOBS) <= set(schema.Train.model_fields)
    for name, method in METHODS.items():
        own = [*method.knobs, *(["tau_travel"] if method.travel_is_known else [])]
        row = re.search(rf"^\| `{name}` \| (.*) \|$", PAGE, flags=re.MULTILINE)
        assert row is not None
        assert re.findall(r"`(\w+)`", row[1]) == own
