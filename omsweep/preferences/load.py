"""Preference data as a folder on disk, made once per content and shared by all trials."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from datasets import Dataset, load_from_disk

from omsweep.cache import build_once
from omsweep.preferences.contamination import (
    RULE_VERSION,
    Contamination,
    ItemTexts,
    Match,
    ScoredText,
    matches,
    prompt_of,
)
from omsweep.preferences.records import check_values, kind_of, record_id
from omsweep.preferences.settings import Generate, PreferenceData
from omsweep.preferences.sources import read_source, source_recipe
from omsweep.preferences.table import PREFERENCES
from omsweep.quiet import without_datasets_bars

FORMAT_VERSION = 1
MATCHES_FILE = "matches.jsonl"
READ_AT_ONCE = 1000


def load_preferences(
    spec: PreferenceData,
    *,
    family_key: str,
    generate: Generate,
    seed: int = 0,
    root: Path | None = None,
) -> Path:
    """Records in TRL's standard or conversational format with an `id` column, as a `datasets.save_to_disk` folder.

    Args:
        spec: where the records come from.
        family_key: identifies weights and settings that `generate` samples with; part of the key of embedded data only.
        generate: `(prompts, samples, seed) -> texts[prompt][sample]`; called for embedded data only.
        seed: of prompts, sampling and annotation; embedded data only.
        root: cache folder, default `omsweep.cache.cache_root()`.

    Returns:
        The folder; the same arguments and contents give the same folder without any work.

    Raises:
        ValueError: missing, unreadable or empty data, missing columns (names found, names wanted), or empty values.
    """
    recipe: dict[str, Any] = {"format": FORMAT_VERSION, "limit": spec.limit, "rendering": spec.rendering}
    if spec.name is not None:
        entry = PREFERENCES[spec.name]
        recipe |= {"name": spec.name, "version": entry.version, "prompts": entry.prompts, "samples": entry.samples}
        recipe |= {"family": family_key, "seed": seed}
    else:
        recipe |= source_recipe(spec)

    def read() -> Dataset:
        if spec.name is None:
            return read_source(spec, recipe)
        entry = PREFERENCES[spec.name]
        build_pairs = import_module(entry.module).build_pairs
        return Dataset.from_list(build_pairs(generate, prompts=entry.prompts, samples=entry.samples, seed=seed))

    def build(folder: Path) -> None:
        records = checked(read(), limit=spec.limit, source=spec.source)
        with without_datasets_bars():
            records.save_to_disk(folder)

    return build_once("preferences", recipe, build, root=root)


def contamination_of(
    folder: Path, scored: Sequence[ScoredText], *, source: str, root: Path | None = None
) -> Contamination:
    """Compare the prompts of a folder of records with what is scored, once per content of both.

    Args:
        folder: from `load_preferences` or `omsweep.preferences.replay.load_replay`.
        scored: texts of the items.
        source: what the user calls the data.
        root: cache folder, default `omsweep.cache.cache_root()`.
    """
    content = json.dumps([[one.item, one.prompt] for one in scored], sort_keys=True)
    recipe = {"rule": RULE_VERSION, "records": folder.name, "scored": hashlib.sha256(content.encode()).hexdigest()}
    records = load_from_disk(folder)

    def build(target: Path) -> None:
        found = matches(map(prompt_of, _prompt_columns(records)), ItemTexts(scored))
        (target / MATCHES_FILE).write_text("".join(json.dumps(match) + "\n" for match in found))

    listed = build_once("contamination", recipe, build, root=root) / MATCHES_FILE
    found: list[Match] = [json.loads(line) for line in listed.read_text().split("\n") if line]
    items = len({one.item for one in scored})
    return Contamination.of(found, source=source, prompts=len(records), items=items, listed=str(listed))


def _prompt_columns(records: Dataset) -> Iterator[Mapping[str, Any]]:
    """The records one after another, with what `prompt_of` reads and no more."""
    chats = isinstance(records[0].get("chosen"), list)
    whole = chats and not isinstance(records[0].get("prompt"), list)
    names = ["prompt"] if "prompt" in records.column_names and not whole else ["chosen", "rejected"]
    for batch in records.select_columns(names).iter(batch_size=READ_AT_ONCE):
        yield from (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))


def checked(records: Dataset, *, limit: int | None, source: object) -> Dataset:
    """The records with an `id` column; ValueError for empty data, missing columns or empty values."""
    if len(records) == 0:
        raise ValueError(f"preference data {source} hold no records")
    kind = kind_of(records.column_names)
    if limit is not None:
        records = records.select(range(min(limit, len(records))))
    rows = records.to_list()
    check_values(rows, kind)
    if "id" not in records.column_names:
        records = records.add_column("id", [record_id(row) for row in rows])
    return records
