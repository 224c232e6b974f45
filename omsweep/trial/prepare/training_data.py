"""The data that trials from one SFT model of a family train on: preferences by source and algorithm, replayed SFT data.

Everything lands in the cache, keyed by recipe; what is returned is plain data that names it.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omsweep.align.template import check_records, tokenizer_hash
from omsweep.cache import RECIPE_FILE, build_once
from omsweep.families.chat_template import template_of
from omsweep.preferences.contamination import ScoredText, refuse_same
from omsweep.preferences.settings import PreferenceData
from omsweep.store.records import Prepared
from omsweep.trial.prepare.request import Preparation

NOTES_FILE = "notes.json"


def training_data(
    wanted: Preparation,
    prepared: Prepared,
    tokenizer: Any,
    load_pairs: Callable[[PreferenceData], Path],
    scored: Sequence[ScoredText],
) -> tuple[dict[str, dict[str, str]], str | None, tuple[dict[str, Any], ...]]:
    """Build or find the prepared data of one SFT model.

    Args:
        wanted: says which data.
        prepared: of the SFT model, without data.
        tokenizer: its tokenizer.
        load_pairs: preference data -> folder of records, sampled from the SFT model where they are its own answers.
        scored: what no prompt may be.

    Returns:
        Key of the preference data -> algorithm -> folder; the folder that is replayed, None where nothing is; and of
        all these data how much of them is scored too, the fields of a `Contamination` each.

    Raises:
        ValueError: a prompt that is scored; records that the chat template cannot render.
    """
    from omsweep.align.data import prepare_data
    from omsweep.align.preflight import check_rows
    from omsweep.preferences.load import contamination_of
    from omsweep.preferences.replay import load_replay

    def ready(records: Path, algorithm: str) -> str:
        folder = prepare_data(
            records,
            algorithm=algorithm,
            model_path=prepared.sft,
            revision=prepared.sft_revision,
            tokenizer=tokenizer,
            batch_size=wanted.batch_size,
            workers=wanted.workers,
            gradient_accumulation_steps=wanted.gradient_accumulation_steps,
            max_length=wanted.max_length,
            dtype=prepared.dtype,
        )
        check_rows(folder, tokenizer)
        return str(folder)

    contamination = []

    def compared(records: Path, source: str) -> Path:
        for note in rendered_notes(records, tokenizer, source=source, family=wanted.family.name):
            sys.stdout.write(note + "\n")
        found = contamination_of(records, scored, source=source)
        refuse_same(found)
        contamination.append(asdict(found))
        return records

    data = {}
    for source, algorithms in wanted.sources:
        records = compared(load_pairs(source), f"preferences {source.source}")
        data[source.key] = {algorithm: ready(records, algorithm) for algorithm, _ in algorithms}
    replay = None
    if wanted.replays:
        examples = load_replay(wanted.replay, sft_seed=prepared.sft_seed)
        name = wanted.replay.source if wanted.replay else "of the family"
        replay = ready(compared(examples, f"replay {name}"), "dpo")
    return data, replay, tuple(contamination)


def rendered_notes(records: Path, tokenizer: Any, *, source: str, family: str) -> list[str]:
    """What `check_records` finds in all records of a folder, once for each tokenizer; it refuses what it refuses."""
    from datasets import load_from_disk

    rendering = json.loads((records / RECIPE_FILE).read_text())["rendering"]

    def build(folder: Path) -> None:
        notes = check_records(
            load_from_disk(records), template_of(tokenizer), source=source, family=family, rendering=rendering
        )
        (folder / NOTES_FILE).write_text(json.dumps(notes))

    recipe = {"records": records.name, "tokenizer": tokenizer_hash(tokenizer), "called": [source, family]}
    notes: list[str] = json.loads((build_once("rendered", recipe, build) / NOTES_FILE).read_text())
    return notes
