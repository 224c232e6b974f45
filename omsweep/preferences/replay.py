"""SFT data that training mixes in beside preferences (`replay_share`), as records that are prepared as pairs are."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from omsweep.cache import build_once
from omsweep.preferences.load import save_taken, summary_of
from omsweep.preferences.reading import Taken, read_records
from omsweep.preferences.settings import PreferenceData
from omsweep.preferences.sources import read_source, source_recipe
from omsweep.preferences.summary import refuse_loss
from omsweep.worlds.tiny.training_text import draw_conversation

FORMAT_VERSION = 2
EMBEDDED_EXAMPLES = 2048
"""Conversations of an embedded family's SFT data that are replayed: the first ones of its own stream."""


def load_replay(spec: PreferenceData | None, *, sft_seed: int, root: Path | None = None) -> Path:
    """SFT examples as a folder of pairs whose chosen and rejected are both the answer; made once per content.

    `omsweep.align.data.prepare_data` turns it into what `replay_share` takes; the rejected side is never trained.

    Args:
        spec: a file or hub data set of records with `messages`, whose last is the assistant's, or with `prompt` and
            `completion`, texts or messages; None for what an embedded family was fine-tuned on.
        sft_seed: of the embedded family's SFT data.
        root: cache folder, default `omsweep.cache.cache_root()`.

    Raises:
        ValueError: missing, unreadable or empty data, or records in another format.
    """
    recipe: dict[str, Any] = {"format": FORMAT_VERSION, "rendering": spec.rendering if spec else "chat"}
    if spec is None:
        recipe |= {"embedded": EMBEDDED_EXAMPLES, "sft_seed": sft_seed}
    else:
        recipe |= {"limit": spec.limit} | source_recipe(spec)

    def build(folder: Path) -> None:
        if spec is None:
            save_taken(as_pairs(embedded_examples(sft_seed, EMBEDDED_EXAMPLES)), folder)
        else:
            save_taken(as_pairs(read_source(spec, recipe), source=spec.source, rendering=spec.rendering), folder)

    folder = build_once("replay", recipe, build, root=root)
    if spec is not None:
        refuse_loss(summary_of(folder, spec), max_dropped_share=spec.max_dropped_share)
    return folder


def embedded_examples(sft_seed: int, count: int) -> list[dict[str, str]]:
    """The first conversations on which `omsweep.families.tiny` fine-tunes with `sft_seed`."""
    rng = Random(f"sft {sft_seed}")
    drawn = [draw_conversation(rng) for _ in range(count)]
    return [{"prompt": prompt, "completion": answer} for prompt, answer in drawn]


def as_pairs(rows: Iterable[Mapping[str, Any]], *, source: str = "of the family", rendering: str = "chat") -> Taken:
    """SFT records as pairs of an answer with itself; ValueError as `omsweep.preferences.reading.read_records`."""
    taken = read_records(rows, source=f"replay {source}", rendering=rendering, answers=True)
    pairs = [
        {name: value for name, value in record.items() if name != "completion"}
        | {"chosen": record["completion"], "rejected": record["completion"]}
        for record in taken.records
    ]
    return replace(taken, records=tuple(pairs))
