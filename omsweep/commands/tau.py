"""What `omsweep tau inspect` prints: a task vector by layer, and where base and SFT model do not match."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from omsweep.commands import DONE, FAILED
from omsweep.console import Console, say
from omsweep.families.load import find
from omsweep.merging.names import listed
from omsweep.merging.vocabulary import VocabularyFit
from omsweep.optim.task_vector_inspection import Difference, Inspection, TensorSums, inspect_task_vector
from omsweep.results.numbers import short
from omsweep.strict_json import plain

_WIDTH_IN_FILES = 200
"""Columns of output that is no terminal: names stay whole."""

_MEASURES = ("tau_norm", "relative_norm", "tau_rms", "zero_share")


def execute(options: argparse.Namespace) -> int:
    """Inspect tau = theta_r - theta_b of two folders or hub ids and print it; a progress bar goes to the terminal.

    Returns:
        1 where names or shapes do not match, or where entries are not finite.

    Raises:
        ValueError: no such model, or no safetensors in it.
    """
    base, sft = options.base, options.sft
    (base_folder, base_revision), (sft_folder, sft_revision) = find(base), find(sft)
    inspection = inspect_task_vector(base_folder, sft_folder, track=_progress)
    code = DONE if inspection.matches and not inspection.non_finite else FAILED
    if options.json:
        models = {"base": base, "base_revision": base_revision, "sft": sft, "sft_revision": sft_revision}
        say(json.dumps(plain(models | as_data(inspection)), indent=2, allow_nan=False))
        return code
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDTH_IN_FILES)
    console.print(layer_table(inspection))
    for line in mismatch_lines(inspection):
        console.print(line)
    return code


def as_data(inspection: Inspection) -> dict[str, Any]:
    """The JSON object of an inspection, without the models' names; names of measures as in `docs/notation.md`."""
    return {
        "matches": inspection.matches,
        "total": _sums_as_data(inspection.total),
        "layers": [{"layer": layer, **_sums_as_data(sums)} for layer, sums in inspection.layers.items()],
        "only_in_base": inspection.only_in_base,
        "only_in_sft": inspection.only_in_sft,
        "other_shapes": [_difference_as_data(difference) for difference in inspection.other_shapes],
        "other_dtypes": [_difference_as_data(difference) for difference in inspection.other_dtypes],
        "non_finite": inspection.non_finite,
        "vocabulary": _fit_as_data(inspection.vocabulary) if inspection.vocabulary else None,
    }


def layer_table(inspection: Inspection) -> Table:
    """One row per layer and one for all of them."""
    table = Table(title="Task vector: SFT - base", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold")
    for name in ("tensors", "entries", "|tau|", "|tau|/|theta_b|", "rms tau", "zero share"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer, sums in inspection.layers.items():
        table.add_row(escape(layer), *_cells(sums))
    table.add_section()
    table.add_row("total", *_cells(inspection.total), style="bold")
    return table


def mismatch_lines(inspection: Inspection) -> list[str]:
    """What does not match, up to five names each, and whether that stands in the way of a task vector."""
    found = [
        ("only in base", inspection.only_in_base),
        ("only in SFT", inspection.only_in_sft),
        ("other shapes", _described(inspection.other_shapes)),
        ("other dtypes", _described(inspection.other_dtypes)),
    ]
    lines = [f"[yellow]{what}[/] ({len(names)}): {escape(listed(names))}" for what, names in found if names]
    for model, counts in inspection.non_finite.items():
        names = escape(listed(f"{name} ({count})" for name, count in counts.items()))
        lines.append(f"[red]not finite[/] (NaN or inf) in {model}: {sum(counts.values())} entries: {names}")
    if inspection.vocabulary:
        lines.append(f"[yellow]vocabulary[/]: {escape(str(inspection.vocabulary))}")
    if not inspection.matches:
        return [
            *lines,
            "[red]mismatch[/]: names or shapes differ; only tensors that both have in one shape are measured",
        ]
    but = ", but for the vocabulary" if inspection.vocabulary else ""
    return [*lines, f"[green]match[/]: the same names and shapes{but}"]


def _cells(sums: TensorSums) -> list[str]:
    measured = [short(getattr(sums, name)) for name in _MEASURES]
    return [str(sums.tensors), f"{sums.entries:,}", *measured]


def _sums_as_data(sums: TensorSums) -> dict[str, Any]:
    return {name: getattr(sums, name) for name in ("tensors", "entries", *_MEASURES)}


def _difference_as_data(difference: Difference) -> dict[str, str]:
    return {"name": difference.name, "base": difference.in_base, "sft": difference.in_sft}


def _fit_as_data(fit: VocabularyFit) -> dict[str, Any]:
    rows = {"base_rows": fit.base_rows, "sft_rows": len(fit.rows)}
    return rows | {name: getattr(fit, name) for name in ("names", "only_in_sft", "only_in_base", "moved")}


def _described(differences: Sequence[Difference]) -> list[str]:
    return [f"{each.name} {each.in_base} and {each.in_sft}" for each in differences]


def _progress(names: Sequence[str]) -> Iterable[str]:
    console = Console(stderr=True)
    return track(names, "reading", console=console, transient=True, disable=not console.is_terminal)
