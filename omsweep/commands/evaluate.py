"""`omsweep evaluate`: any checkpoint against a sweep's SFT model, scored as the sweep scores its own policies."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from omsweep.cluster.storage import storage_path
from omsweep.commands import DEFAULT_STORAGE, DONE
from omsweep.console import Console, say
from omsweep.provenance import differing, versions
from omsweep.quiet import without_transformers_bars
from omsweep.report.card.scores import numbers_of
from omsweep.results.numbers import fixed, with_error
from omsweep.space.build import build_space
from omsweep.space.inputs import changed, inputs_of
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.records import SHOWN, TWINS, TrialRecord
from omsweep.store.state import SweepState, prepared_of
from omsweep.strict_json import plain

TABLES = (".parquet", ".csv", ".jsonl")
"""Suffixes of a table of scores by item."""
SHOWN_NUMBERS = ("reward", "tax", "tax_regressed", "tax_worst", "flip_rate", "kl", "length_ratio")


def execute(options: argparse.Namespace) -> int:
    """Check the request, score the checkpoint, print its numbers and write its table where one is asked for."""
    if (options.checkpoint is None) == (options.add_reward is None):
        raise ValueError("evaluate takes a checkpoint, or --add-reward for the sweep's own trials; one of the two")
    if options.add_reward is not None:
        from omsweep.commands.rewards.add import execute as add_reward

        return add_reward(options)
    table = None if options.output is None else _table_file(Path(options.output))
    folder = SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.sweep)
    state = folder.state()
    space = build_space(dict(state.resolved))
    _refuse_other_questions(folder, state, space)
    if options.family is not None:
        _family(options.family, None, state)

    from omsweep.families.folder import check_causal
    from omsweep.families.load import find, weights_hash

    place = find(options.checkpoint)[0]
    check_causal(Path(place), answers=True)
    digest = weights_hash(place)
    trial = next((one for one in state.records() if one.weights_hash == digest), None)
    key = _family(options.family, trial, state)
    _note_differences(state, trial)
    frame, numbers = _scored(folder, state, space, key, place, options.split)
    if table is not None:
        _write(frame, table)
    said = {"checkpoint": options.checkpoint, "weights_hash": digest, "sweep": folder.name, "family": key}
    said |= {"split": options.split, "trial": None if trial is None else trial.trial_id}
    if options.json:
        say(json.dumps(plain(said | numbers), indent=2, allow_nan=False, ensure_ascii=False))
    else:
        before = state.prepared[key]["reference"].get("scores", {}) if options.split == "search" else {}
        _print(said, numbers, before)
    if trial is not None:
        _compare(numbers, trial, state, options.split)
    return DONE


def _scored(
    folder: SweepFolder, state: SweepState, space: SearchSpace, key: str, place: str, split: str
) -> tuple[Any, dict[str, Any]]:
    """The checkpoint's table and numbers, computed with as many threads as the sweep's workers have."""
    import torch

    from omsweep.trial.checkpoint import score_checkpoint
    from omsweep.trial.export import at_hand
    from omsweep.trial.prepare.family import Milestones
    from omsweep.trial.prepare.reward_model import build_reward_model

    family = next(one for one in space.families if one.name == state.prepared[key]["family"])
    prepared = at_hand(prepared_of(state.prepared[key]), family)
    for reward in space.evaluate.all_rewards:
        build_reward_model(reward, progress=Milestones)
    torch.set_num_threads(int(max(1, space.file.train.resources_per_worker.cpus or family.resources.cpus or 1)))
    reference = _reference(folder, state, key, split)
    with without_transformers_bars():
        return score_checkpoint(space.evaluate, prepared, place, split, reference=reference)


def _table_file(file: Path) -> Path:
    if file.suffix not in TABLES:
        raise ValueError(f"--output must end with {', '.join(TABLES)}, got {file.name!r}")
    if not file.parent.is_dir():
        raise ValueError(f"--output: there is no folder {file.parent}")
    return file


def _refuse_other_questions(folder: SweepFolder, state: SweepState, space: SearchSpace) -> None:
    """ValueError where the suite, the prompts or the scorer's model hold something else than the sweep's did."""
    there, here = state.created.get("inputs", {}), inputs_of(space)
    others = changed(
        *({key: one for key, one in each.items() if key.startswith("evaluate.")} for each in (there, here))
    )
    if others:
        raise ValueError(f"sweep {folder.path} was scored by other data: {others[0]}; its numbers would be others")


def _family(asked: str | None, trial: TrialRecord | None, state: SweepState) -> str:
    """The key of the SFT model to compare with: as asked, the only one, or that of the trial with these weights."""
    keys = list(state.prepared)
    if asked is None and len(keys) == 1:
        return keys[0]
    if asked is None and trial is not None:
        asked = next((key for key in (f"{trial.family}#{trial.sft_seed}", trial.family) if key in keys), None)
    if asked not in keys:
        got = "this sweep has several" if asked is None else f"got {asked!r}"
        raise ValueError(f"--family must be one of {', '.join(keys) or 'none (nothing was prepared)'}; {got}")
    return asked


def _reference(folder: SweepFolder, state: SweepState, key: str, split: str) -> Any:
    """The SFT model's table as the sweep kept it; None where it has no rows of the split."""
    data = state.prepared[key]
    try:
        frame = folder.reference_scores(data["family"], data.get("sft_seed"))
    except FileNotFoundError:
        return None
    rows = frame[frame["split"] == split]
    return rows if len(rows) else None


def _note_differences(state: SweepState, trial: TrialRecord | None) -> None:
    """Say what may make the numbers others than the sweep's."""
    from omsweep.trial.models import accelerator

    others = differing((state.driver or state.created).get("versions") or {}, versions())
    if trial is not None and trial.accelerator not in (None, accelerator()):
        others.append(f"accelerator {trial.accelerator} there and {accelerator()} here")
    if others:
        say(f"omsweep: note: the numbers may differ from the sweep's: {', '.join(others)}", error=True)


def _write(frame: Any, file: Path) -> None:
    if file.suffix == ".parquet":
        frame.to_parquet(file, index=False)
    elif file.suffix == ".csv":
        frame.to_csv(file, index=False)
    else:
        frame.to_json(file, orient="records", lines=True, force_ascii=False)


def _print(said: Mapping[str, Any], numbers: Mapping[str, Any], before: Mapping[str, float]) -> None:
    """`before`: the SFT model's score of each category, where it is known."""
    where = f"{said['split']} split of sweep {said['sweep']}"
    title = f"{said['checkpoint']} against the SFT model of {said['family']}, {where}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("", "value", "unit"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for name in SHOWN_NUMBERS:
        shown, value, error = SHOWN[name], numbers[name], numbers.get(f"{name}_se_items")
        digits = max(2, shown.digits)
        table.add_row(
            shown.title, with_error(value, error, digits) if shown.objective else fixed(value, digits), shown.unit
        )
    for name, score in numbers["scores"].items():
        was = f"points, SFT model {fixed(100 * before[name], 1)}" if name in before else "points"
        table.add_row(f"  {name}", fixed(100 * score, 1), was)
    Console(highlight=False, markup=False, soft_wrap=True).print(table)


def _compare(numbers: Mapping[str, Any], trial: TrialRecord, state: SweepState, split: str) -> None:
    """Whether the sweep's record of the same weights says the same; to the last digit, or how it differs."""
    known = {name: numbers_of(trial, state)[name if split == "search" else TWINS[name]] for name in ("reward", "tax")}
    if known["reward"] is None:
        said = f"it has no scores on the {split} split"
    else:
        others = [
            f"{name} {there} there and {numbers[name]} here" for name, there in known.items() if there != numbers[name]
        ]
        said = ", ".join(others) or "reward and tax are the same to the last digit"
    say(f"omsweep: note: these are the weights of trial {trial.trial_id}: {said}", error=True)
