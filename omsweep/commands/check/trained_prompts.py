"""Whether preference prompts are reward prompts, as far as local files say so without a model. Torch-free."""

from pathlib import Path

from omsweep.evaluation.scored_texts import reward_texts
from omsweep.preferences.contamination import Contamination, ItemTexts, matches, prompt_of, refuse_same
from omsweep.preferences.files import json_records
from omsweep.preferences.records import kind_of
from omsweep.preferences.settings import PreferenceData
from omsweep.space.data_sources import algorithms_by_source
from omsweep.space.knobs import SpaceError
from omsweep.space.search_space import SearchSpace

READ_BYTES = 16 * 2**20
"""What `check` reads in about a second; a run compares files of any size, Parquet, hub data and tax items too."""


def check_trained_prompts(space: SearchSpace) -> None:
    """Whether a small local file of preferences has reward prompts among its own; raises SpaceError."""
    sources = [source for source, _ in algorithms_by_source(space.preferences, space.shared, space.branches)]
    for source in filter(_is_small_file, sources):
        try:
            items = ItemTexts(reward_texts(space.evaluate.reward.prompts))
        except ValueError as error:
            raise SpaceError("evaluate.reward.prompts", str(error)) from None
        try:
            refuse_same(_compared(source, items))
        except ValueError as error:
            raise SpaceError("preferences", str(error)) from None


def _is_small_file(source: PreferenceData) -> bool:
    file = Path(source.path or "").expanduser()
    return file.suffix in (".json", ".jsonl") and file.is_file() and file.stat().st_size <= READ_BYTES


def _compared(source: PreferenceData, items: ItemTexts) -> Contamination:
    records = json_records(Path(str(source.path)).expanduser().read_text(encoding="utf-8"))[: source.limit]
    for record in records:
        kind_of(record)
    found = list(matches(map(prompt_of, records), items))
    return Contamination.of(found, source=source.source, prompts=len(records), items=len(items.same))
