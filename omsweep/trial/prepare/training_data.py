"""The data that trials from one SFT model of a family train on: preferences by source and algorithm, replayed SFT data.

Everything lands in the cache, keyed by recipe; what is returned is plain data that names it.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omsweep.preferences.contamination import ScoredText, refuse_same
from omsweep.preferences.settings import PreferenceData
from omsweep.store.records import Prepared
from omsweep.trial.prepare.request import Preparation


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
        ValueError: a prompt that is scored.
    """
    from omsweep.align.data import prepare_data
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
        return str(folder)

    contamination = []

    def compared(records: Path, source: str) -> Path:
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
