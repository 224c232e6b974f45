"""What chat templates of families that are here do with small local files of preferences. Torch-free."""

from pathlib import Path

from omsweep.align.template import check_records, of_each_kind
from omsweep.families.chat_template import Template, check_answer_ends, template_at_hand
from omsweep.families.family import ModelFamily
from omsweep.preferences.files import json_records
from omsweep.preferences.settings import PreferenceData
from omsweep.space.data_sources import algorithms_by_source
from omsweep.space.knobs import SpaceError
from omsweep.space.search_space import SearchSpace

READ_BYTES = 16 * 2**20
"""What `check` reads in about a second; a run looks at all records of any data."""


def check_templates(space: SearchSpace) -> None:
    """Whether templates end an answer and render what is trained with them, as far as files here say; SpaceError."""
    sources = [source for source, _ in algorithms_by_source(space.preferences, space.shared, space.branches)]
    for index, family in enumerate(space.families):
        try:
            template = template_at_hand(family)
            if template is None:
                continue
            if any(source.rendering == "chat" for source in sources):
                check_answer_ends(template, family.name)
        except ValueError as error:
            raise SpaceError(f"families.{index}", str(error)) from None
        for source in sources:
            try:
                _check(template, family, source)
            except ValueError as error:
                raise SpaceError("preferences", str(error)) from None


def _check(template: Template, family: ModelFamily, source: PreferenceData) -> None:
    file = Path(source.path or "").expanduser()
    if file.suffix in (".json", ".jsonl") and file.is_file() and file.stat().st_size <= READ_BYTES:
        records = json_records(file.read_text(encoding="utf-8"))[: source.limit]
        kinds = of_each_kind(records, source.rendering)
        name = f"preferences {source.source}"
        check_records(kinds, template, source=name, family=family.name, rendering=source.rendering)
