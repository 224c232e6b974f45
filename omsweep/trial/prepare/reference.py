"""The reference's log-probs of what the trials from one SFT model read, by as many processes as a trial has workers."""

from functools import partial
from pathlib import Path
from typing import Any

from omsweep.store.records import Prepared
from omsweep.trial.gpu_memory import hold_gpu_memory
from omsweep.trial.models import sft_model, sft_tokenizer
from omsweep.trial.prepare.request import Preparation


def score_references(wanted: Preparation, prepared: Prepared, progress: Any, *, part: int = 0, parts: int = 1) -> int:
    """Score what is missing of one part; what is there, from whichever sweep, is not scored again.

    Args:
        wanted: says what trials read.
        prepared: from `omsweep.trial.prepare.family.prepare_family`.
        progress: a tqdm-like class for progress bars.
        part, parts: which part of the work this process does.

    Returns:
        How many examples were scored.
    """
    from omsweep.align.reference import score_reference

    hold_gpu_memory(prepared.gpu_memory_gib)
    read = [
        (prepared.data[source.key][algorithm], readings)
        for source, algorithms in wanted.sources
        for algorithm, readings in algorithms
    ]
    if prepared.replay is not None:
        read.append((prepared.replay, wanted.replay_read))
    return sum(
        score_reference(
            Path(data),
            readings,
            model=partial(sft_model, prepared),
            tokenizer=sft_tokenizer(prepared),
            part=part,
            parts=parts,
            progress=progress,
        )
        for data, readings in read
    )
