"""Blocked design of `mode: compare`: within a block every method meets the same draws, training seed and data order."""

import itertools
import math
import random
from collections.abc import Mapping

from scipy.stats import qmc

from omsweep.space.branches import Branch
from omsweep.space.knobs import Choice, Fixed, Integer, Interval, Knob, Scalar, from_unit
from omsweep.space.samples import make_sample
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import trial_spec
from omsweep.store.records import TrialSpec


def draw(space: SearchSpace) -> list[TrialSpec]:
    """All trials of a compare sweep, families x SFT seeds x blocks x seeds x methods x doses, in the order they start.

    Ranges are drawn from one scrambled Sobol sequence per family (dimensions: shared knobs, then each branch's own);
    choices run through shuffled rounds, so that with enough blocks every value occurs equally often. The SFT seeds of a
    family meet the same draws, each with training seeds of its own, so that what a training seed does is averaged over
    SFT seeds; levels of `design.cross` share both. With `design.ladder` every
    method is trained at each dose, a multiple of the learning rate that the block drew.
    """
    drawn = {name: _draw_family(space, name) for name in space.family_names}
    design = space.design
    seeds = range(design.blocks), range(design.seeds), design.sft_range
    doses: list[float] | list[None] = design.ladder or [None]
    places = itertools.product(*seeds, space.family_names, space.branches, doses)
    return [
        _spec(
            space,
            branch,
            *drawn[family][block],
            family=family,
            sft_seed=sft_seed,
            block=block,
            repeat=repeat,
            dose=dose,
        )
        for block, repeat, sft_seed, family, branch, dose in places
    ]


def _spec(
    space: SearchSpace,
    branch: Branch,
    shared: Mapping[str, Scalar],
    by_label: Mapping[str, Mapping[str, Scalar]],
    *,
    family: str,
    sft_seed: int,
    block: int,
    repeat: int,
    dose: float | None,
) -> TrialSpec:
    design = space.design
    start = f"{family}-f{sft_seed}" if design.names_sft_seeds else family
    end = "" if dose is None else f"-x{dose:g}"
    sample = make_sample(
        space,
        branch,
        {**{name: shared[name] for name in space.shared_by(branch)}, **by_label[branch.label]},
        trial_id=f"{start}-b{block}-s{repeat}-{branch.label}{end}",
        family=family,
        sft_seed=sft_seed,
        block=block,
        dose=dose,
        seed=design.training_seed(sft_seed, block, repeat),
    )
    return trial_spec(space, sample)


def _draw_family(space: SearchSpace, family: str) -> list[tuple[dict[str, Scalar], dict[str, dict[str, Scalar]]]]:
    """Per block: the values of the shared knobs, and per label those of the branch's own knobs."""
    columns = _draw_columns(space, family)
    return [
        (
            {name: columns[name][block] for name in space.shared},
            {
                branch.label: {name: _value(branch, name, columns, block) for name in branch.knobs}
                for branch in space.branches
            },
        )
        for block in range(space.design.blocks)
    ]


def _draw_columns(space: SearchSpace, family: str) -> dict[str, list[Scalar]]:
    knobs: dict[str, Knob] = dict(space.shared)
    for branch in space.branches:
        drawn = {name: knob for name, knob in branch.knobs.items() if not isinstance(knob, Fixed)}
        knobs |= {_column(branch, name): knob for name, knob in drawn.items()}
    blocks, seed = space.design.blocks, space.design.seed
    quantiles = _sobol(knobs, blocks, f"{seed}/{family}")
    columns: dict[str, list[Scalar]] = {}
    for path, knob in knobs.items():
        match knob:
            case Fixed(value):
                columns[path] = [value] * blocks
            case Choice(values):
                columns[path] = _cycle(values, blocks, f"{seed}/{family}/{path}")
            case Interval() | Integer():
                columns[path] = [from_unit(knob, u) for u in quantiles[path]]
    return columns


def _sobol(knobs: Mapping[str, Knob], blocks: int, seed: str) -> dict[str, list[float]]:
    ranged = [path for path, knob in knobs.items() if isinstance(knob, Interval | Integer)]
    if not ranged:
        return {}
    engine = qmc.Sobol(len(ranged), scramble=True, rng=random.Random(seed).getrandbits(32))
    points = engine.random_base2(math.ceil(math.log2(blocks)) if blocks > 1 else 0)[:blocks]
    return {path: points[:, i].tolist() for i, path in enumerate(ranged)}


def _cycle(values: tuple[Scalar, ...], count: int, seed: str) -> list[Scalar]:
    rng = random.Random(seed)
    drawn: list[Scalar] = []
    while len(drawn) < count:
        drawn += rng.sample(values, len(values))
    return drawn[:count]


def _value(branch: Branch, name: str, columns: Mapping[str, list[Scalar]], block: int) -> Scalar:
    knob = branch.knobs[name]
    return knob.value if isinstance(knob, Fixed) else columns[_column(branch, name)][block]


def _column(branch: Branch, name: str) -> str:
    """The draws of a branch's own knob, which the levels of its crossed knobs share."""
    return f"method.{branch.origin}.{name}"
