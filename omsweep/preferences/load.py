"""Preference data as a folder on disk, made once per content and shared by all trials."""

import hashlib
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from datasets import Dataset, load_from_disk

from omsweep.cache import build_once
from omsweep.preferences.contamination import RULE_VERSION, Contamination, ItemTexts, Match, ScoredText, matches
from omsweep.preferences.reading import Taken, read_records
from omsweep.preferences.settings import Generate, PreferenceData
from omsweep.preferences.sources import read_source, source_recipe
from omsweep.preferences.summary import Summary, refuse_loss, summary_from
from omsweep.preferences.table import PREFERENCES
from omsweep.quiet import without_datasets_bars

FORMAT_VERSION = 2
MATCHES_FILE = "matches.jsonl"
RECORDS_FILE = "records.json"
"""The summary of what was read, in the folder of what was taken."""


def load_preferences(
    spec: PreferenceData,
    *,
    family_key: str,
    generate: Generate,
    seed: int = 0,
    root: Path | None = None,
) -> Path:
    """Records as `omsweep.preferences.reading` takes them, as a `datasets.save_to_disk` folder with their summary.

    Args:
        spec: where the records come from.
        family_key: identifies weights and settings that `generate` samples with; part of the key of embedded data only.
        generate: `(prompts, samples, seed) -> texts[prompt][sample]`; called for embedded data only.
        seed: of prompts, sampling and annotation; embedded data only.
        root: cache folder, default `omsweep.cache.cache_root()`.

    Returns:
        The folder; the same arguments and contents give the same folder without any work.

    Raises:
        ValueError: missing or unreadable data, a record that is refused, or too many that are dropped.
    """
    recipe: dict[str, Any] = {"format": FORMAT_VERSION, "limit": spec.limit, "rendering": spec.rendering}
    if spec.name is not None:
        entry = PREFERENCES[spec.name]
        recipe |= {"name": spec.name, "version": entry.version, "prompts": entry.prompts, "samples": entry.samples}
        recipe |= {"family": family_key, "seed": seed}
    else:
        recipe |= source_recipe(spec)

    def read() -> Taken:
        if spec.name is None:
            rows = read_source(spec, recipe)
        else:
            entry = PREFERENCES[spec.name]
            build_pairs = import_module(entry.module).build_pairs
            rows = build_pairs(generate, prompts=entry.prompts, samples=entry.samples, seed=seed)[: spec.limit]
        return read_records(rows, source=f"preferences {spec.source}", rendering=spec.rendering)

    folder = build_once("preferences", recipe, lambda target: save_taken(read(), target), root=root)
    refuse_loss(summary_of(folder, spec), max_dropped_share=spec.max_dropped_share)
    return folder


def save_taken(taken: Taken, folder: Path) -> None:
    """Write records and summary; ValueError with the summary where no record is left."""
    refuse_loss(taken.summary, max_dropped_share=1.0)
    with without_datasets_bars():
        Dataset.from_list(list(taken.records)).save_to_disk(folder)
    (folder / RECORDS_FILE).write_text(json.dumps(taken.summary.as_mapping()) + "\n")


def summary_of(folder: Path, spec: PreferenceData | None = None) -> Summary:
    """What became of the records of a folder, under the name that `spec` has: a copy of a file has the same folder."""
    summary = summary_from(json.loads((folder / RECORDS_FILE).read_text()))
    return summary if spec is None else summary.called(spec.source)


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
        prompts = records.select_columns(["record", "prompt"])
        found = matches(((row["record"], row["prompt"]) for row in prompts), ItemTexts(scored))
        (target / MATCHES_FILE).write_text("".join(json.dumps(match) + "\n" for match in found))

    listed = build_once("contamination", recipe, build, root=root) / MATCHES_FILE
    found: list[Match] = [json.loads(line) for line in listed.read_text().split("\n") if line]
    items = len({one.item for one in scored})
    return Contamination.of(found, source=source, prompts=len(records), items=items, listed=str(listed))
