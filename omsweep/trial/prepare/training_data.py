"""The data that trials from one SFT model of a family train on: preferences by source and algorithm, replayed SFT data.

Everything lands in the cache, keyed by recipe; what is returned is plain data that names it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omsweep.preferences.settings import PreferenceData
from omsweep.store.records import Prepared
from omsweep.trial.prepare.request import Preparation


def training_data(
    wanted: Preparation, prepared: Prepared, tokenizer: Any, load_pairs: Callable[[PreferenceData], Path]
) -> tuple[dict[str, dict[str, str]], str | None]:
    """Build or find the prepared data of one SFT model.

    Args:
        wanted: says which data.
        prepared: of the SFT model, without data.
        tokenizer: its tokenizer.
        load_pairs: preference data -> folder of records, sampled from the SFT model where they are its own answers.

    Returns:
        Key of the preference data -> algorithm -> folder; and the folder that is replayed, None where nothing is.
    """
    from omsweep.align.data import prepare_data
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

    data = {}
    for source, algorithms in wanted.sources:
        records = load_pairs(source)
        data[source.key] = {algorithm: ready(records, algorithm) for algorithm in algorithms}
    replay = ready(load_replay(wanted.replay, sft_seed=prepared.sft_seed), "dpo") if wanted.replays else None
    return data, replay
