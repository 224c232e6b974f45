"""What `omsweep check` prints. Torch-free."""

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from omsweep.commands.check.comparison import comparison_lines, comparison_notes
from omsweep.commands.check.family_notes import family_notes, reward_model_notes
from omsweep.commands.check.recipe_notes import recipe_notes, steps_of
from omsweep.commands.check.records import kto_notes
from omsweep.console import Console
from omsweep.evaluation.data import SAMPLES
from omsweep.plan.earlier import read_earlier
from omsweep.plan.size import merged_count, trained_count
from omsweep.plan.starting_points import plan, recipe_count, startup_trials, trial_count
from omsweep.space.branches import Branch
from omsweep.space.checks.extras import extra_notes
from omsweep.space.knobs import Choice, Fixed, Integer, Interval, Knob
from omsweep.space.search_space import SearchSpace


def print_check(path: Path, space: SearchSpace) -> None:
    """Say what a checked search space would run, and warn where a search would never use its model."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[green]ok[/] {path}: {summary(space)}")
    table = Table("label", "method", "knobs", box=None, pad_edge=False)
    table.add_row("(shared)", "", ", ".join(f"{n} {_describe(k)}" for n, k in space.shared.items()))
    for branch in space.branches:
        table.add_row(branch.label, branch.method, _knobs(branch))
    console.print(table)
    if space.posthoc:
        console.print(_posthoc_table(space))
    for line in comparison_lines(space):
        console.print(escape(line))
    said = [notes, recipe_notes, comparison_notes, family_notes, reward_model_notes, kto_notes, extra_notes]
    for note in [note for each in said for note in each(space)]:
        console.print(f"[yellow]note[/] {escape(note)}")


def _posthoc_table(space: SearchSpace) -> Table:
    table = Table("posthoc", "method", "points of a trial", "of", box=None, pad_edge=False)
    for grid in space.posthoc:
        travel = f" (one to the travel of {grid.travel_of})" if grid.travel_of else ""
        table.add_row(grid.label, grid.method, f"{len(grid)}{travel}", ", ".join(grid.of))
    return table


def summary(space: SearchSpace) -> str:
    """One line: mode, trials and where they run."""
    train, families = space.file.train, len(space.families)
    passes = f" in {train.gradient_accumulation_steps} passes" if train.gradient_accumulation_steps > 1 else ""
    shards = f" ({train.sharding})" if train.workers > 1 else ""
    where = (
        f"{steps_of(space)} steps of {train.batch_size}{passes}, {train.workers} worker(s){shards}, backend"
        f" {train.backend}"
    )
    count, merged = trained_count(space), merged_count(space)
    if space.file.mode == "search":
        merges = f", at most {merged} post-hoc points of them" if merged else ""
        return f"search, {count} trials over {families} families by {space.search.algorithm}{merges}; {where}"
    design = space.design
    merges = f", {merged} post-hoc points of them" if merged else ""
    doses = f" x {len(design.ladder)} doses" if design.ladder else ""
    first = f" from {design.first_sft_seed}" if design.first_sft_seed else ""
    sft_seeds = f" x {design.sft_seeds} SFT seeds{first}" if design.names_sft_seeds else ""
    return (
        f"compare, {count} trials = {families} families{sft_seeds} x {design.blocks} blocks x {design.seeds} seeds"
        f" x {len(space.branches)} methods{doses}, match {design.match}{merges}; {where}"
    )


def notes(space: SearchSpace) -> list[str]:
    """What a user should know although it is no mistake."""
    found = []
    if (most := space.file.budget.trials) is not None and most < trained_count(space):
        found.append(f"budget.trials: at most {most} of these {trained_count(space)} trials are begun")
    if code := space.evaluate.code:
        found.append(f"evaluate.tax: loading the suite runs Python of its own: {', '.join(code)}")
    if space.evaluate.data_root == SAMPLES:
        found.append(f"evaluate.data_root: {SAMPLES}: ten made-up items a task, for trying things out; no measurement")
    if space.file.mode == "compare" and space.design.seeds * space.design.blocks * space.design.sft_seeds == 1:
        found.append("one block and one seed: exploratory, the report will rank nothing")
    if space.file.mode == "search":
        found += _search_notes(space)
    return found


def _search_notes(space: SearchSpace) -> list[str]:
    found, search = [], space.search
    per_family = trial_count(space) / len(space.families)
    if search.learns and per_family <= max(startup_trials(space), len(plan(space))):
        found.append(
            f"search.trials: {per_family:g} trials a family, {startup_trials(space)} of them before the first"
            " proposal of the model: nothing would be model-based"
        )
    if (recipes := recipe_count(space)) is not None and recipes < per_family:
        found.append(
            f"search.trials: {per_family:g} trials a family and {recipes} recipes: the rest repeat them with new seeds"
        )
    if search.warm_start:
        found += read_earlier(space).said
    return found


def _knobs(branch: Branch) -> str:
    said = [f"{name} {_describe(knob)}" for name, knob in branch.knobs.items()]
    said += [f"preferences = {branch.preferences.source}"] if branch.preferences is not None else []
    said += [f"match = {branch.match}"] if branch.match is not None else []
    return ", ".join(said) or "-"


def _describe(knob: Knob) -> str:
    match knob:
        case Fixed(value):
            return f"= {value}"
        case Choice(values):
            return f"in {{{', '.join(map(str, values))}}}"
        case Integer(low, high):
            return f"in {low}..{high}"
        case Interval(low, high, log):
            return f"in {low:g}..{high:g}{' (log)' if log else ''}"
