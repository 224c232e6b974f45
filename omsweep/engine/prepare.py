"""Before the first trial: what can be refused at once, then every SFT model made ready in a Ray task of its own."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import ray
from rich.markup import escape

from omsweep.cache import RECIPE_FILE
from omsweep.cache.use import hold, noted
from omsweep.console import Console
from omsweep.engine.executor import Family, Ready, Work
from omsweep.engine.failures import failed
from omsweep.engine.placement import Worker
from omsweep.evaluation.settings import TAX_SUITES
from omsweep.families.chat_template import template_at_hand, template_of
from omsweep.families.family import TinyRecipe
from omsweep.foreign import Refused, calling, refusal
from omsweep.plan.stopping import rung_limits
from omsweep.preferences.contamination import Contamination, refuse_same
from omsweep.preferences.summary import check_algorithms, summary_from
from omsweep.space.checks.extras import require_extras
from omsweep.space.data_sources import algorithms_by_source
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import preparation
from omsweep.store.records import Prepared, TrialSpec
from omsweep.trial.prepare.family import Milestones
from omsweep.trial.prepare.made import describe, made_of

Used = Mapping[Path, bool]
"""Entries of the cache, and whether they were built for it."""


def check_own_data(space: SearchSpace) -> None:
    """Refuse missing packages, and read the data and the suite that no model has to make: a mistake costs nothing."""
    require_extras(space)
    algorithms = dict(algorithms_by_source(space.preferences, space.shared, space.branches))
    own = [source for source in algorithms if source.name is None]
    if not own and space.replay is None and space.evaluate.tax in TAX_SUITES and not space.evaluate.suite.files:
        return
    from omsweep.evaluation.scored_texts import scored_texts
    from omsweep.preferences.load import contamination_of, load_preferences, summary_of
    from omsweep.preferences.replay import load_replay

    folders = []
    for source in own:
        folders.append(load_preferences(source, family_key="", generate=_no_generation))
        check_algorithms(summary_of(folders[-1], source), algorithms[source])
    if space.replay is not None:
        folders.append(load_replay(space.replay, sft_seed=0))
    for folder in folders:
        check_rendered(space, summary_of(folder).source, folder)
    with calling("read the tax suite and the reward prompts"):
        scored = scored_texts(space.evaluate)
    for folder in folders:
        refuse_same(contamination_of(folder, scored, source=summary_of(folder).source))


def check_rendered(space: SearchSpace, source: str, folder: Path) -> None:
    """Refuse records that the chat template of a family here cannot render; one of each kind is looked at."""
    from datasets import load_from_disk

    from omsweep.align.template import check_renderable, of_each_kind
    from omsweep.families.tiny.tokenizer import build_tokenizer

    rendering = json.loads((folder / RECIPE_FILE).read_text())["rendering"]
    records = list(of_each_kind(load_from_disk(folder), rendering))
    for family in space.families:
        own = isinstance(family.recipe, TinyRecipe)
        if template := template_of(build_tokenizer()) if own else template_at_hand(family):
            check_renderable(records, template, source=source, family=family.name, rendering=rendering)


def prepare_all(
    space: SearchSpace,
    specs: Sequence[TrialSpec] | None,
    workers: Mapping[str, Worker],
    console: Console,
    work: Work,
    *,
    every_row: bool = False,
) -> Ready:
    """Prepare every SFT model of every family; with each its table of scores.

    The reference's log-probs come last, by as many tasks for each SFT model as a trial has workers.

    Args:
        space: the sweep's.
        specs: its trials where they are known.
        workers: by family, what its tasks are given.
        console: where progress is said.
        work: what the tasks do.
        every_row: whether trials may read anything, see `omsweep.space.specs.preparation`.

    Raises:
        ValueError: with the message of the task that refused; a tax that the suite's items cannot give.
        RuntimeError: a task was stopped by an error that nobody foresaw, or by the machine.
    """
    started = time.monotonic()
    console.print(f"preparing {', '.join(space.family_names)} (cached by recipe; the first time trains them)")
    task = ray.remote(_prepare_task)

    def start(what: str, family: str, seed: int, *given: Any, **options: Any) -> Any:
        own = workers[family].task_options(f"{what} {family} {seed}")
        return task.options(**own).remote(*given, **options)

    limits = rung_limits(space)
    wanted = {
        (name, seed): replace(
            preparation(space, name, sft_seed=seed, trials=_trials_from(specs, name, seed), every_row=every_row),
            rung_limits=limits,
        )
        for name in space.family_names
        for seed in space.design.sft_range
    }
    drawn, parts = console.is_terminal, space.file.train.workers
    waiting = {key: start("prepare", *key, work.prepare, drawn, one) for key, one in wanted.items()}
    prepared: dict[Family, tuple[Prepared, Any]] = {}
    used: dict[Family, Used] = {}
    for key, reference in waiting.items():
        prepared[key], used[key] = _result(reference, f"family {key[0]}")
    scoring = [
        (key, start("reference", *key, work.reference, drawn, one, prepared[key][0], part=part, parts=parts))
        for key, one in wanted.items()
        for part in range(parts)
    ]
    scored = Counter(dict.fromkeys(wanted, 0))
    for key, reference in scoring:
        scored[key] += _result(reference, f"family {key[0]}")[0]
    for entry in (one for found in used.values() for one in found):
        hold(entry)  # the processes that made it ready may end before the sweep does
    for key, (models, table) in prepared.items():
        prepared[key] = models.model_copy(update={"made": made_of(used[key], scored=scored[key])}), table
    _say(space, prepared, console)
    console.print(f"prepared in {time.monotonic() - started:.0f} s")
    return prepared


def _say(space: SearchSpace, prepared: Ready, console: Console) -> None:
    """A few lines on what is ready; refuses a tax that the suite's items cannot give."""
    for (name, seed), (models, _) in prepared.items():
        check_tax(space.file.objectives.tax, models)
        console.print(f"  {name}: {describe(models.made)}", highlight=False)
        which = f" {seed}" if space.design.names_sft_seeds else ""
        average = models.reference.benchmark_average
        console.print(f"  {name}: SFT model{which} scores {average:.1f} points on the tax suite", highlight=False)
        if unused := models.decoding.get("set_aside"):
            console.print(
                f"  {name}: of its generation_config only eos_token_id counts, not {unused}; see the family's decoding",
                highlight=False,
                markup=False,
            )
    for found in of_data(prepared, "records"):
        for line in summary_from(found).lines():
            console.print(f"  {escape(line)}", highlight=False)
    for found in of_data(prepared, "contamination"):
        console.print(f"  {escape(Contamination(**found).describe())}", highlight=False)


def check_tax(tax: str, models: Prepared) -> None:
    """ValueError where the suite's items cannot give a tax that is corrected for their noise."""
    if tax != "tax" and getattr(models.reference, tax) is None:
        raise ValueError(
            f"objectives.tax: {tax} is corrected for item noise, and a task of the tax suite has one cluster of items"
            " only (one passage, or one item), which shows none; use tax"
        )


def of_data(prepared: Ready, what: Literal["records", "contamination"]) -> list[Mapping[str, Any]]:
    """Which records of what is trained on were taken, or scored too; data that SFT models have in common once."""
    found: list[Mapping[str, Any]] = []
    for models, _ in prepared.values():
        found += [one for one in getattr(models, what) if one not in found]
    return found


def reference_key(space: SearchSpace, sft_seed: int) -> int | None:
    """The SFT seed that a reference is kept under; None where a sweep has the first SFT model of a family alone."""
    return sft_seed if space.design.names_sft_seeds else None


def _no_generation(prompts: Sequence[Any], samples: int, seed: int) -> list[list[str]]:
    raise AssertionError("only embedded preference data are generated")


def _trials_from(specs: Sequence[TrialSpec] | None, family: str, sft_seed: int) -> list[TrialSpec] | None:
    if specs is None:
        return None
    return [spec for spec in specs if (spec.family, spec.sft_seed or 0) == (family, sft_seed)]


def _prepare_task(prepare: Callable[..., Any], drawn: bool, *wanted: Any, **options: Any) -> tuple[Any, Used]:
    """What `prepare` returns, and the cache entries it was given."""
    from ray.experimental import tqdm_ray

    try:
        with noted() as used:
            return prepare(*wanted, tqdm_ray.tqdm if drawn else Milestones, **options), used
    except Exception as error:
        said = refusal(error)  # while its traceback is there to tell whose it is
        if said is None:
            raise
        raise Refused(said) from None


def _result(reference: Any, what: str) -> Any:
    """The result of a Ray task; ValueError for what it refused, RuntimeError where an error or a kill ended it."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        if isinstance(error, ray.exceptions.RayTaskError) and isinstance(error.cause, Refused):
            raise ValueError(f"{what}: {error.cause}") from None
        raise RuntimeError(f"{what} could not be prepared: {failed(error).error}") from error
