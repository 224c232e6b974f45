"""SFT data that training mixes in beside preferences (`replay_share`), as records that are prepared as pairs are."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from datasets import Dataset

from omsweep.cache import build_once
from omsweep.preferences.records import check_values
from omsweep.preferences.settings import PreferenceData
from omsweep.preferences.sources import read_source, source_recipe
from omsweep.quiet import without_datasets_bars
from omsweep.worlds.tiny.training_text import draw_conversation

FORMAT_VERSION = 1
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
            records: Iterable[Mapping[str, Any]] = embedded_examples(sft_seed, EMBEDDED_EXAMPLES)
        else:
            found = read_source(spec, recipe)
            records = found.select(range(min(spec.limit or len(found), len(found))))
        with without_datasets_bars():
            Dataset.from_list(as_pairs(records)).save_to_disk(folder)

    return build_once("replay", recipe, build, root=root)


def embedded_examples(sft_seed: int, count: int) -> list[dict[str, str]]:
    """The first conversations on which `omsweep.families.tiny` fine-tunes with `sft_seed`."""
    rng = Random(f"sft {sft_seed}")
    drawn = [draw_conversation(rng) for _ in range(count)]
    return [{"prompt": prompt, "completion": answer} for prompt, answer in drawn]


def as_pairs(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """SFT records as pairs of an answer with itself; ValueError for none, another format or an empty value."""
    pairs = [_as_pair(record, number) for number, record in enumerate(records)]
    if not pairs:
        raise ValueError("replay data hold no records")
    check_values(pairs, "paired")
    return pairs


def _as_pair(record: Mapping[str, Any], number: int) -> dict[str, Any]:
    messages = record.get("messages")
    if isinstance(messages, list) and len(messages) > 1 and messages[-1].get("role") == "assistant":
        prompt, answer = messages[:-1], messages[-1:]
    elif {"prompt", "completion"} <= set(record):
        prompt, answer = record["prompt"], record["completion"]
    else:
        raise ValueError(
            "replay data must have prompt and completion, or messages that end with the assistant's, got"
            f" {', '.join(sorted(record)) or 'nothing'} in record {number}"
        )
    return {"prompt": prompt, "chosen": answer, "rejected": answer}
