"""How small an effect a sweep can be expected to show, from the variances an earlier sweep found. Torch-free."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omsweep.results.comparison.components import VarianceComponents
from omsweep.results.comparison.detectable import Design, power, smallest_detectable_effect
from omsweep.results.comparison.question import Question
from omsweep.results.comparison.spread import mean_components

FILE = "comparison.json"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What the contrasts of a sweep to come can be expected to show.

    Args:
        effect: true difference, a share of the baseline's area, that will be called `better` with probability 0.8;
            infinite without repeats.
        power: probability that a difference of delta is.
        contrasts: of the pilot, over whose variances, and over the families, the mean was taken.
        sft_seeds_known: whether the pilot had several SFT seeds; without, their variance counts as 0.
    """

    effect: float
    power: float
    contrasts: int
    sft_seeds_known: bool


def read_pilot(path: str) -> dict[str, Any]:
    """The comparison an earlier sweep wrote; `path` is its folder or the file itself.

    Raises:
        ValueError: there is none, or it holds no variances.
    """
    file = Path(path).expanduser()
    file = file / FILE if file.is_dir() else file
    if not file.is_file():
        raise ValueError(f"{path!r} has no {FILE}: give the folder of a sweep with a section comparison")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        variances = [row for row in content["variance"] if "components" in row] if content["contrasts"] else []
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file} is not the {FILE} of a sweep of this version") from None
    if not variances:
        raise ValueError(f"{file} holds no variances: that sweep compared nothing, or repeated nothing")
    return dict(content)


def planned(question: Question, families: Sequence[str], pilot: Mapping[str, Any]) -> Planned:
    """What a sweep can show, at its share of the family-wise error at Holm's first step.

    The variance is pooled: the mean over all contrasts of the pilot in the families that both have (over all of its
    families where they share none), since a few SFT seeds say little about any single one. The report split counts as
    large as the pilot's.

    Args:
        question: of the sweep to come.
        families: of it.
        pilot: from `read_pilot`.
    """
    each = [row for row in pilot["variance"] if row["family"] in set(pilot["blocks"])]
    rows = [row for row in each if row["family"] in families] or each
    components = mean_components([_components(row["components"]) for row in rows])
    design = Design(
        sft_seeds=question.sft_seeds,
        runs=question.runs,
        items=min(row["groups"] for row in rows),
        families=len(families),
        comparisons=len(question.contrasts),
    )
    return Planned(
        effect=smallest_detectable_effect(design, components),
        power=power(design, components, question.delta),
        contrasts=len({(row["arm"], row["against"]) for row in rows}),
        sft_seeds_known=not math.isnan(components.sft_seed),
    )


def _components(row: Mapping[str, float | None]) -> VarianceComponents:
    return VarianceComponents(**{name: math.nan if value is None else value for name, value in row.items()})
