"""Arms read block by block: the values of a measure, and what each arm chose."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omsweep.results.comparison.clusters import nested_weights
from omsweep.results.comparison.measures import KL, REWARD, TAX, Limits, Measure, selected
from omsweep.results.comparison.points import READINGS, Arm, Floats, Points


def candidates(points: Points, arm: Arm) -> list[tuple[Floats, Floats]]:
    """An arm's candidates in every block, the SFT model last.

    Returns:
        By block search [K, 3] and report [1 + G, K, 3], the reading of all items first.
    """
    members = np.flatnonzero(arm.members(points))
    report = np.concatenate([points.report[:, None], points.report_without], axis=1)
    sft = np.zeros((1, report.shape[1], 3))
    found = []
    for block in range(len(points.blocks)):
        mine = members[points.block_index[members] == block]
        read = np.concatenate([report[mine], sft]).swapaxes(0, 1)
        found.append((np.concatenate([points.search[mine], sft[:, 0]]), read))
    return found


def block_values(points: Points, arm: Arm, measure: Measure, limits: Mapping[str, Limits]) -> Floats:
    """The measure of an arm in every block, [B, 1 + G], the reading of all items first.

    Args:
        points: the policies.
        arm: whose candidates.
        measure: of `MEASURES`.
        limits: by family.

    Raises:
        ValueError: no block has a run of this label, or a number that the measure reads is missing.
    """
    members = arm.members(points)
    if not (points.label == arm.label).any():
        raise ValueError(f"no policy is labelled {arm.label!r}, there are {sorted(set(points.label.tolist()))}")
    for column in measure.reads:
        read = (
            points.search[members, column],
            points.report[members, column],
            points.report_without[members, :, column],
        )
        if not all(np.isfinite(numbers).all() for numbers in read):
            raise ValueError(f"{READINGS[column]} is missing for policies of {arm.name}: {measure.name} cannot be read")
    return np.stack(
        [
            measure.read(search, report, limits[family])
            for (search, report), (family, _, _) in zip(candidates(points, arm), points.blocks, strict=True)
        ]
    )


def chosen(points: Points, arm: Arm, limits: Mapping[str, Limits]) -> Floats:
    """`READINGS` on the report split, [B, 3], of what an arm chose in every block at tax <= t on the search split."""
    found = [
        report[0, selected(search, TAX, limits[family].tax)]
        for (search, report), (family, _, _) in zip(candidates(points, arm), points.blocks, strict=True)
    ]
    return np.stack(found)


def candidate_count(points: Points, arm: Arm, blocks: NDArray[np.bool_]) -> float:
    """Mean number of an arm's candidates in the blocks marked, the SFT model not counted."""
    return float((arm.members(points) & blocks[points.block_index]).sum() / blocks.sum())


def matched_kl(points: Points, labels: Collection[str]) -> dict[str, float]:
    """By family the median KL on the search split of the trained runs of these labels, nats per completion.

    One number for all arms, the same whichever of the labels is called online.

    Raises:
        ValueError: a family has no such run, or the KL of one is not known.
    """
    trained = np.isin(points.label, list(labels)) & ~points.merged
    family = np.array([block[0] for block in points.block])
    of_runs = {name: points.search[trained & (family == name), KL] for name in points.families}
    for name, known in of_runs.items():
        if len(known) == 0 or not np.isfinite(known).all():
            raise ValueError(f"the KL to the SFT model of the trained runs of {name} is not known")
    return {name: float(np.median(known)) for name, known in of_runs.items()}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What an arm chose in a family's blocks at tax <= t on the search split; means are of the report split.

    Args:
        family: the family.
        arm: its name.
        blocks: number of blocks.
        candidates: fewest and most in a block, the SFT model not counted.
        sft_chosen: blocks in which nothing within the limit had a reward above the SFT model's.
        over_limit: blocks in which the chosen policy's tax on the report split exceeds t: choosing on one split what is
            cheap there makes it dearer on the other, more so with many candidates near the limit.
        reward: mean over SFT seeds of the mean over runs, scorer units.
        tax: likewise, points.
        kl: likewise, nats per completion; NaN where one is not known.
    """

    family: str
    arm: str
    blocks: int
    candidates: tuple[int, int]
    sft_chosen: int
    over_limit: int
    reward: float
    tax: float
    kl: float


def choices(points: Points, arms: Iterable[Arm], limits: Limits | Mapping[str, Limits]) -> list[Choice]:
    """One `Choice` for every family and arm."""
    arms = list(arms)
    return [
        _choice(points, arm, family, limits if isinstance(limits, Limits) else limits[family])
        for family in points.families
        for arm in arms
    ]


def _choice(points: Points, arm: Arm, family: str, limits: Limits) -> Choice:
    every, inside = candidates(points, arm), points.places(family)
    counts = [len(every[i][0]) - 1 for i in inside]
    best = [selected(every[i][0], TAX, limits.tax) for i in inside]
    numbers = np.array([every[i][1][0, place] for i, place in zip(inside, best, strict=True)])
    mean = nested_weights([points.sft_seeds(family), [points.blocks[i][2] for i in inside]]) @ numbers
    return Choice(
        family=family,
        arm=arm.name,
        blocks=len(inside),
        candidates=(min(counts), max(counts)),
        sft_chosen=sum(place == count for place, count in zip(best, counts, strict=True)),
        over_limit=int((numbers[:, TAX] > limits.tax).sum()),
        reward=float(mean[REWARD]),
        tax=float(mean[TAX]),
        kl=float(mean[KL]),
    )
