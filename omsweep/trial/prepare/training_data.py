"""The data that trials from one SFT model of a family train on: preferences by source and algorithm, replayed SFT data.

Everything lands in the cache, keyed by recipe; what is returned is plain data that names it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omsweep.align.template import check_renderable, tokenizer_hash
from omsweep.cache import RECIPE_FILE, build_once
from omsweep.console import say
from omsweep.families.chat_template import template_of
from omsweep.preferences.contamination import ScoredText, refuse_same
from omsweep.preferences.settings import PreferenceData
from omsweep.preferences.summary import check_algorithms, refuse_loss
from omsweep.preferences.turns import TOO_LONG
from omsweep.store.records import Prepared
from omsweep.trial.prepare.request import Preparation

NOTES_FILE = "notes.json"


def training_data(
    wanted: Preparation,
    prepared: Prepared,
    tokenizer: Any,
    load_pairs: Callable[[PreferenceData], Path],
    scored: Sequence[ScoredText],
) -> dict[str, Any]:
    """Build or find the prepared data of one SFT model.

    Args:
        wanted: says which data.
        prepared: of the SFT model, without data.
        tokenizer: its tokenizer.
        load_pairs: preference data -> folder of records, sampled from the SFT model where they are its own answers.
        scored: what no prompt may be.

    Returns:
        Fields of a `Prepared`: `data`, `replay`, and of all these data `contamination` and `records`.

    Raises:
        ValueError: a prompt that is scored, records that the chat template cannot render, too many that are dropped, or
            data that an algorithm cannot use.
    """
    from omsweep.align.data import prepare_data, too_long
    from omsweep.align.preflight import check_rows
    from omsweep.preferences.load import contamination_of, summary_of
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

    contamination, summaries = [], []

    def checked(records: Path, spec: PreferenceData | None, algorithms: Sequence[str]) -> Path:
        summary = summary_of(records, spec)
        for note in rendered_notes(records, tokenizer, source=summary.source, family=wanted.family.name):
            say(note)
        found = contamination_of(records, scored, source=summary.source)
        refuse_same(found)
        contamination.append(asdict(found))
        lost = too_long(
            records,
            model_path=prepared.sft,
            revision=prepared.sft_revision,
            tokenizer=tokenizer,
            max_length=wanted.max_length,
        )
        summary = summary.without(TOO_LONG, lost)
        refuse_loss(summary, max_dropped_share=spec.max_dropped_share if spec else 1.0)
        check_algorithms(summary, algorithms)
        summaries.append(summary.as_mapping())
        return records

    data = {}
    for source, algorithms in wanted.sources:
        records = checked(load_pairs(source), source, [algorithm for algorithm, _ in algorithms])
        data[source.key] = {algorithm: ready(records, algorithm) for algorithm, _ in algorithms}
    replay = None
    if wanted.replays:
        examples = load_replay(wanted.replay, sft_seed=prepared.sft_seed)
        replay = ready(checked(examples, wanted.replay, []), "dpo")
    return {"data": data, "replay": replay, "contamination": tuple(contamination), "records": tuple(summaries)}


def rendered_notes(records: Path, tokenizer: Any, *, source: str, family: str) -> list[str]:
    """What `check_renderable` finds in all records of a folder, once for each tokenizer; it refuses what it refuses."""
    from datasets import load_from_disk

    rendering = json.loads((records / RECIPE_FILE).read_text())["rendering"]

    def build(folder: Path) -> None:
        notes = check_renderable(
            load_from_disk(records), template_of(tokenizer), source=source, family=family, rendering=rendering
        )
        (folder / NOTES_FILE).write_text(json.dumps(notes))

    recipe = {"records": records.name, "tokenizer": tokenizer_hash(tokenizer), "called": [source, family]}
    notes: list[str] = json.loads((build_once("rendered", recipe, build) / NOTES_FILE).read_text())
    return notes
