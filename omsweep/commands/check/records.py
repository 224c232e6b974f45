"""What local files of records hold, as far as they say so without a model: shapes, losses, labels, scored prompts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from omsweep.align.settings import KTO_WEIGHTS
from omsweep.align.template import of_each_kind
from omsweep.console import Console
from omsweep.evaluation.scored_texts import reward_texts
from omsweep.preferences.contamination import Contamination, ItemTexts, matches, refuse_same
from omsweep.preferences.files import read_rows
from omsweep.preferences.reading import read_records
from omsweep.preferences.settings import PreferenceData
from omsweep.preferences.summary import Summary, check_algorithms, refuse_loss
from omsweep.space.crossing import alive
from omsweep.space.data_sources import algorithms_by_source
from omsweep.space.knobs import Fixed, SpaceError, edge_values
from omsweep.space.search_space import SearchSpace

LARGE_BYTES = 16 * 2**20
"""What is read in about a second; that more is read is said."""
EXAMPLES = 3
KTO_RATIOS = (1.0, 1.333334)
"""Between 1 and 4/3 arXiv:2402.01306 (eq. 8) advises weight times number of desirable answers over those of others."""


@dataclass(frozen=True)
class Looked:
    """What a local file holds: the summary, how many of its prompts are reward prompts, the first records, and for
    chat templates one of each kind.
    """

    summary: Summary
    scored: Contamination
    examples: tuple[dict[str, Any], ...]
    kinds: tuple[Mapping[str, Any], ...]


def check_records(space: SearchSpace) -> None:
    """Whether the local files of records can be used, and no prompt in them is a reward prompt; raises SpaceError."""
    for key, source, algorithms, looked in local_records(space):
        try:
            refuse_loss(looked.summary, max_dropped_share=source.max_dropped_share)
            check_algorithms(looked.summary, algorithms)
            refuse_same(looked.scored)
        except ValueError as error:
            raise SpaceError(key, str(error)) from None


def local_records(space: SearchSpace) -> Iterator[tuple[str, PreferenceData, list[str], Looked]]:
    """Key, settings, algorithms and content of every local file of records that is there; raises SpaceError."""
    named = [("preferences", *one) for one in algorithms_by_source(space.preferences, space.shared, space.branches)]
    replay: list[tuple[str, PreferenceData, list[str]]] = [("replay", space.replay, [])] if space.replay else []
    for key, source, algorithms in named + replay:
        file = Path(source.path or "").expanduser()
        if source.path is None or not file.is_file():
            continue
        found = file.stat()
        try:
            looked = _looked(key, source, space.evaluate.reward.prompts, (found.st_size, found.st_mtime_ns))
        except SpaceError:
            raise
        except ValueError as error:
            raise SpaceError(key, str(error)) from None
        yield key, source, algorithms, looked


@lru_cache(maxsize=8)
def _looked(key: str, source: PreferenceData, reward_prompts: str, stamp: tuple[int, int]) -> Looked:
    """Read once, though it is checked and then shown; `stamp`, bytes and time, tells a file that was written again."""
    name = f"{key} {source.source}"
    if stamp[0] > LARGE_BYTES:
        Console(highlight=False).print(f"reading {name} ({stamp[0] / 2**20:.0f} MiB)", markup=False)
    try:
        items = ItemTexts(reward_texts(reward_prompts))
    except ValueError as error:
        raise SpaceError("evaluate.reward.prompts", str(error)) from None
    rows = read_rows(str(source.path), what=f"{key} data")[: source.limit]
    taken = read_records(rows, source=name, rendering=source.rendering, answers=key == "replay")
    found = list(matches(((one["record"], one["prompt"]) for one in taken.records), items))
    scored = Contamination.of(found, source=name, prompts=len(taken.records), items=len(items.same))
    kinds = tuple(of_each_kind(taken.records, source.rendering))
    return Looked(taken.summary, scored, taken.records[:EXAMPLES], kinds)


def print_records(space: SearchSpace) -> None:
    """Print the table of every local file of records; a run prints those of all data once it has prepared them."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for *_, looked in local_records(space):
        console.print("\n".join(looked.summary.lines()))


def kto_notes(space: SearchSpace) -> list[str]:
    """Weights of KTO's two kinds of answers outside of what its paper advises for the labels of local or own data."""
    return list(dict.fromkeys(_kto_notes(space)))


def _kto_notes(space: SearchSpace) -> Iterator[str]:
    labels = {source: looked.summary.labels for _, source, _, looked in local_records(space)}
    for branch in space.branches:
        knobs, source = alive(branch, space.shared), branch.preferences or space.preferences
        counts = labels.get(source, {} if source.name else None)
        if counts is None or "kto" not in edge_values(knobs["algorithm"]):
            continue
        good, bad = counts.get("true", 1), counts.get("false", 1)
        for drawn in product(*(edge_values(knobs.get(name, Fixed(1.0))) for name in KTO_WEIGHTS)):
            desirable, undesirable = (float(str(value)) for value in drawn)
            ratio, (least, most) = desirable * good / (undesirable * bad), KTO_RATIOS
            if not least <= round(ratio, 6) <= most:
                yield (
                    f"kto of {branch.label}: {good} desirable answers with weight {desirable:g} over {bad} undesirable"
                    f" ones with weight {undesirable:g} is {ratio:.2f}; its paper advises 1 to 4/3: here"
                    f" undesirable_weight {desirable * good / bad / most:.3g} to {desirable * good / bad / least:.3g}"
                    " beside that desirable_weight"
                )
