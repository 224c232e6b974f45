"""Two or more sweeps on one page and in the terminal."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omsweep.report.page import page
from omsweep.report.sections import SECTIONS, Content
from omsweep.report.text_table import TextTable, markdown
from omsweep.results.answers.picks import Pick
from omsweep.results.numbers import counted, fixed, with_error
from omsweep.results.side_by_side import SideBySide, side_by_side
from omsweep.results.view import read_view
from omsweep.store.folder import SweepFolder
from omsweep.strict_json import plain

WIDEST = 40
"""Characters of a setting's value in the table of differences."""


def write_beside(folders: Sequence[SweepFolder]) -> tuple[SideBySide, Path]:
    """Write `compare-A-B.html` and `.json` into the storage of these sweeps.

    Returns:
        What they hold, and the page's path.

    Raises:
        FileNotFoundError: there is no such sweep.
        ValueError: they did not measure the same, see `side_by_side`.
    """
    found = side_by_side([read_view(folder) for folder in folders])
    target = folders[0].storage / f"compare-{'-'.join(found.names)}.html"
    target.write_text(page_of(found), encoding="utf-8")
    content = json.dumps(plain(as_json(found)), indent=2, allow_nan=False, ensure_ascii=False)
    target.with_suffix(".json").write_text(f"{content}\n", encoding="utf-8")
    return found, target


def page_of(found: SideBySide) -> str:
    """The page: what the sweeps found, their fronts in one plot, every trial."""

    def compared(_: object) -> Content:
        return {"tables": tables(found)}

    names = " and ".join(found.names)
    return page(
        found.view,
        {"compare": ("Sweeps", compared), **{name: SECTIONS[name] for name in ("fronts", "trials")}},
        headline=f"{counted(len(found.names), 'sweep')} that measured the same, each in a colour of its own: {names}.",
        tiles=(),
    )


def tables(found: SideBySide) -> list[TextTable]:
    """Every sweep's front by family, and the settings in which they differ."""
    objectives = found.view.objectives
    reference = f"reward {objectives.reference_reward:g}, {objectives.tax.name} {objectives.reference_tax:g}"
    fronts = TextTable(
        title="Fronts",
        columns=(
            "family",
            "sweep",
            "knee or most reward",
            "reward",
            objectives.tax.name,
            "scored",
            "members",
            "on the common front",
            "hypervolume",
        ),
        words=3,
        rows=[
            [
                *(one.family, one.sweep, *_picked(one.picks)),
                *(str(one.scored), str(len(one.members)), str(len(one.on_common_front)), fixed(one.hypervolume)),
            ]
            for one in found.fronts
        ],
        notes=(f"Hypervolume up to one reference point: {reference}.", *found.cautions),
    )
    settings = TextTable(
        title="Settings that differ",
        columns=("setting", *found.names),
        words=1 + len(found.names),
        rows=[[key, *(_cut(value) for value in values)] for key, values in found.differences.items()],
    )
    return [fronts, *([settings] if found.differences else [])]


def text(found: SideBySide) -> str:
    """The tables as Markdown."""
    return "\n".join(markdown(table) for table in tables(found))


def as_json(found: SideBySide) -> dict[str, Any]:
    """What the page says as plain data."""
    summary = found.view.summary
    return {
        "sweeps": list(found.names),
        "objectives": summary["objectives"],
        "reference_point": summary["reference_point"],
        "fronts": [asdict(one) for one in found.fronts],
        "common_fronts": {family: content["members"] for family, content in summary["families"].items()},
        "differences": found.differences,
        "cautions": list(found.cautions),
    }


def _picked(picks: Sequence[Pick]) -> list[str]:
    """The first thing to take from a front, and its numbers."""
    if not picks:
        return ["nothing beats the SFT model", "", ""]
    pick = picks[0]
    reading = pick.reading
    numbers = [with_error(reading.reward, reading.reward_error), with_error(reading.tax, reading.tax_error)]
    return [f"{pick.trial_id} ({reading.split} split)", *numbers]


def _cut(value: str) -> str:
    return value if len(value) <= WIDEST else f"{value[: WIDEST - 1]}…"
