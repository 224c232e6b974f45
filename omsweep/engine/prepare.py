"""Before the first trial: what can be refused at once, then every SFT model made ready in a Ray task of its own."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from rich.console import Console

from omsweep.engine.placement import Placement, task_options
from omsweep.engine.work import Work
from omsweep.space.checks.extras import require_extras
from omsweep.space.data_sources import algorithms_by_source
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import preparation
from omsweep.store.folder import SweepFolder
from omsweep.store.records import Prepared
from omsweep.trial.prepare.family import Milestones
from omsweep.trial.prepare.request import Preparation

Family = tuple[str, int]
"""A family's name and the seed of its SFT model."""


def check_own_data(space: SearchSpace) -> None:
    """Refuse missing packages, and read the data that no model has to make: a mistake in them costs nothing."""
    require_extras(space)
    sources = [source for source, _ in algorithms_by_source(space.preferences, space.shared, space.branches)]
    own = [source for source in sources if source.name is None]
    if own:
        from omsweep.evaluation.item_ids import evaluation_ids
        from omsweep.preferences.load import load_preferences

        reserved_ids = evaluation_ids(space.evaluate)
        for source in own:
            load_preferences(source, family_key="", generate=_no_generation, reserved_ids=reserved_ids)
    if space.replay is not None:
        from omsweep.preferences.replay import load_replay

        load_replay(space.replay, sft_seed=0)


def prepare_all(
    space: SearchSpace, placement: Placement, console: Console, work: Work
) -> dict[Family, tuple[Prepared, Any]]:
    """Prepare every SFT model of every family; with each its table of scores.

    Raises:
        ValueError: with the message of the task that refused; a tax that the suite's items cannot give.
    """
    started = time.monotonic()
    console.print(f"preparing {', '.join(space.family_names)} (cached by recipe; the first time trains them)")
    task = ray.remote(_prepare_task).options(**task_options(placement))
    waiting = {
        (name, seed): task.remote(preparation(space, name, sft_seed=seed), console.is_terminal, work.prepare)
        for name in space.family_names
        for seed in range(space.design.sft_seeds)
    }
    prepared = {key: _result(reference, f"family {key[0]}") for key, reference in waiting.items()}
    for (name, seed), (models, _) in prepared.items():
        check_tax(space.file.objectives.tax, models)
        which = f" {seed}" if space.design.sft_seeds > 1 else ""
        average = models.reference.benchmark_average
        console.print(f"  {name}: SFT model{which} scores {average:.1f} points on the tax suite", highlight=False)
        if unused := models.decoding.get("set_aside"):
            console.print(
                f"  {name}: of its generation_config only eos_token_id counts, not {unused}; see the family's decoding",
                highlight=False,
                markup=False,
            )
    console.print(f"prepared in {time.monotonic() - started:.0f} s")
    return prepared


def check_tax(tax: str, models: Prepared) -> None:
    """ValueError where the suite's items cannot give a tax that is corrected for their noise."""
    if tax != "tax" and getattr(models.reference, tax) is None:
        raise ValueError(
            f"objectives.tax: {tax} is corrected for item noise, and a task of the tax suite has one cluster of items"
            " only (one passage, or one item), which shows none; use tax"
        )


def keep_references(space: SearchSpace, folder: SweepFolder, prepared: dict[Family, tuple[Prepared, Any]]) -> None:
    """Write the SFT models' folders and scores into the sweep's folder."""
    for (family, sft_seed), (models, table) in prepared.items():
        named = {name: getattr(models, name) for name in ("base", "base_revision", "sft", "sft_revision")}
        key = sft_seed if space.design.sft_seeds > 1 else None
        folder.write_reference(family, models.reference.model_dump(exclude_unset=True) | named, sft_seed=key)
        folder.write_reference_scores(family, table, sft_seed=key)


def _no_generation(prompts: Sequence[Any], samples: int, seed: int) -> list[list[str]]:
    raise AssertionError("only embedded preference data are generated")


def _prepare_task(wanted: Preparation, drawn: bool, prepare: Callable[..., Any]) -> tuple[Prepared, Any]:
    from ray.experimental import tqdm_ray

    return prepare(wanted, tqdm_ray.tqdm if drawn else Milestones)


def _result(reference: Any, what: str) -> Any:
    """The result of a Ray task; what it raised as ValueError becomes one of our own, anything else passes on."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ValueError):
            raise ValueError(f"{what}: {error.cause}") from None
        raise
