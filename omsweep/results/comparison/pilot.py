"""How small an effect a sweep can be expected to show, from the variances an earlier sweep found. Torch-free."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omsweep.results.comparison.components import VarianceComponents
from omsweep.results.comparison.detectable import Design, smallest_detectable_effect
from omsweep.results.comparison.question import Question
from omsweep.results.comparison.spread import mean_components

FILE = "comparison.json"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One primary comparison of a sweep to come.

    Args:
        arm, against: names of both arms.
        effect: true difference in reward at tax <= t that will be called `better` with probability 0.8, scorer units;
            None where the pilot did not compare these arms in any of the families, infinite without repeats.
        sft_seeds_known: whether the pilot had several SFT seeds; without, their variance counts as 0.
    """

    arm: str
    against: str
    effect: float | None
    sft_seeds_known: bool


def read_pilot(path: str) -> dict[str, Any]:
    """The comparison an earlier sweep wrote; `path` is its folder or the file itself.

    Raises:
        ValueError: there is none, or it holds no variances.
    """
    file = Path(path).expanduser()
    file = file / FILE if file.is_dir() else file
    if not file.is_file():
        raise ValueError(f"{path!r} has no {FILE}: give the folder of a sweep that was asked for the headline")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        variances = content["variance"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file} is not the {FILE} of a sweep") from None
    if not variances:
        raise ValueError(f"{file} holds no variances: that sweep compared nothing, or repeated nothing")
    return dict(content)


def planned(question: Question, families: Sequence[str], pilot: Mapping[str, Any]) -> list[Planned]:
    """Every primary comparison of a sweep, tested at its share of the family-wise error at Holm's first step.

    Half of that error goes to the primary comparisons in equal parts (`judged`). Variances are the pilot's means over
    the families that both have, the report split as large as the pilot's.

    Args:
        question: of the sweep to come.
        families: of it.
        pilot: from `read_pilot`.
    """
    pairs = question.pairs(question.merged)
    found = []
    for first, second in pairs:
        rows = [
            row
            for row in pilot["variance"]
            if (row["arm"], row["against"]) == (first.name, second.name) and row["family"] in families
        ]
        effect = _effect(question, len(families), rows, 2 * len(pairs)) if rows else None
        known = all(row["components"]["sft_seed"] is not None for row in rows)
        found.append(Planned(arm=first.name, against=second.name, effect=effect, sft_seeds_known=known))
    return found


def _effect(question: Question, families: int, rows: Sequence[Mapping[str, Any]], comparisons: int) -> float:
    components = mean_components([_components(row["components"]) for row in rows])
    design = Design(
        sft_seeds=question.sft_seeds,
        runs=question.runs,
        items=min(row["groups"] for row in rows),
        families=families,
        comparisons=comparisons,
    )
    return smallest_detectable_effect(design, components)


def _components(row: Mapping[str, float | None]) -> VarianceComponents:
    return VarianceComponents(**{name: math.nan if value is None else value for name, value in row.items()})
