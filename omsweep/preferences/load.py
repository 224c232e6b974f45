"""Preference data as a folder on disk, made once per content and shared by all trials."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from datasets import Dataset, load_from_disk

from omsweep.cache import build_once
from omsweep.preferences.records import check_disjoint, check_values, kind_of, record_id
from omsweep.preferences.settings import Generate, PreferenceData
from omsweep.preferences.sources import read_source, source_recipe
from omsweep.preferences.table import PREFERENCES
from omsweep.quiet import without_datasets_bars

FORMAT_VERSION = 1


def load_preferences(
    spec: PreferenceData,
    *,
    family_key: str,
    generate: Generate,
    seed: int = 0,
    reserved_ids: Iterable[str] = (),
    root: Path | None = None,
) -> Path:
    """Records in TRL's standard or conversational format with an `id` column, as a `datasets.save_to_disk` folder.

    Args:
        spec: where the records come from.
        family_key: identifies weights and settings that `generate` samples with; part of the key of embedded data only.
        generate: `(prompts, samples, seed) -> texts[prompt][sample]`; called for embedded data only.
        seed: of prompts, sampling and annotation; embedded data only.
        reserved_ids: ids of test items; a record with one of them is an error.
        root: cache folder, default `omsweep.cache.cache_root()`.

    Returns:
        The folder; the same arguments and contents give the same folder without any work.

    Raises:
        ValueError: missing, unreadable or empty data, missing columns (names found, names wanted), empty values, or a
            prompt among `reserved_ids`.
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

    folder = build_once("preferences", recipe, build, root=root)
    check_disjoint(load_from_disk(folder)["id"], reserved_ids)
    return folder


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
