"""The data that trials from one SFT model of a family train on: preferences by source and algorithm, replayed SFT data.

Everything lands in the cache, keyed by recipe; what is returned is plain data that names it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omsweep.preferences.settings import PreferenceData
from omsweep.space.data_sources import algorithms_by_source, replays
from omsweep.space.search_space import SearchSpace


def training_data(
    space: SearchSpace, prepared: Mapping[str, Any], tokenizer: Any, load_pairs: Callable[[PreferenceData], Path]
) -> dict[str, Any]:
    """Build or find the prepared data of one SFT model.

    Args:
        space: says which data.
        prepared: of the SFT model: `sft, sft_revision, weights_hash, dtype, sft_seed`.
        tokenizer: its tokenizer.
        load_pairs: preference data -> folder of records, sampled from the SFT model where they are its own answers.

    Returns:
        `data`: key of the preference data -> algorithm -> folder; `replay`: folder, or None where nothing is replayed.
    """
    from omsweep.align.data import prepare_data
    from omsweep.preferences.replay import load_replay

    def ready(records: Path, algorithm: str) -> str:
        train = space.file.train
        folder = prepare_data(
            records,
            algorithm=algorithm,
            model_path=prepared["sft"],
            revision=prepared["sft_revision"],
            tokenizer=tokenizer,
            batch_size=train.batch_size,
            workers=train.workers,
            gradient_accumulation_steps=train.gradient_accumulation_steps,
            max_length=train.max_length,
            dtype=prepared["dtype"],
        )
        return str(folder)

    data = {}
    for source, algorithms in algorithms_by_source(space.preferences, space.shared, space.branches):
        records = load_pairs(source)
        data[source.key] = {algorithm: ready(records, algorithm) for algorithm in algorithms}
    replay = None
    if replays(space.shared, space.branches):
        replay = ready(load_replay(space.replay, sft_seed=prepared["sft_seed"]), "dpo")
    return {"data": data, "replay": replay}


def data_of(space: SearchSpace, sample: Mapping[str, Any], prepared: Mapping[str, Any]) -> str:
    """The folder of preference data that a sample trains on."""
    branch = next(branch for branch in space.branches if branch.label == sample["label"])
    source: PreferenceData = branch.preferences or space.preferences
    return prepared["data"][source.key][sample["algorithm"]]
