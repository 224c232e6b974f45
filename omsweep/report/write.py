"""Writes what people look at into a sweep's folder: front.json, front.png, report.html, the study, the comparison."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omsweep.report.comparison_chart import comparison_sheet
from omsweep.report.comparison_tables import comparison_latex, comparison_markdown
from omsweep.report.draw_matplotlib import image
from omsweep.report.front_chart import front_sheet
from omsweep.report.page import page
from omsweep.report.study_chart import study_sheet
from omsweep.report.study_table import study_latex, study_markdown
from omsweep.results.comparison.reading import as_json, read_findings
from omsweep.results.study import asked_study, study_result
from omsweep.results.view import SweepView, read_view
from omsweep.store.folder import SweepFolder
from omsweep.strict_json import plain

Contents = Mapping[Path, str | bytes]


def write_front(folder: SweepFolder, *, report_scores: Mapping[str, Mapping[str, Any]] | None = None) -> SweepView:
    """Write `front.json` alone: quick enough after every trial. Arguments and errors as `write_report`."""
    view = read_view(folder, report_scores)
    folder.write_front(view.summary)
    return view


def write_report(folder: SweepFolder, *, report_scores: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Write `front.json`, `front.png` and `report.html` from the trials the folder holds, also before the last ends.

    Where the sweep asks for a comparison also `comparison.json`, `comparison.md`,
    `comparison.tex` and, where something could be compared, `comparison.png`.
    Where the space asks for a study, its `study.md`, `study.tex` and `study.png` too.

    Args:
        folder: of a sweep that was created.
        report_scores: per trial id what it scored on the report split, fields as in the trial object (`reward`,
            `reward_se_items`, `tax`, ...); front members show them. Those given earlier are kept.

    Raises:
        FileNotFoundError: there is no such sweep.
        ValueError: the folder cannot be written.
    """
    view = write_front(folder, report_scores=report_scores)
    view = replace(view, findings=read_findings(folder, view.resolved, view.trials))
    contents = {
        **_comparison(folder, view),
        folder.front_png: image(front_sheet(view)),
        folder.report_html: page(view),
        **_study(folder, view),
    }
    for target, content in contents.items():
        _replace(target, content.encode("utf-8") if isinstance(content, str) else content)


def _comparison(folder: SweepFolder, view: SweepView) -> Contents:
    """The comparison's files, the image only where arms were compared; nothing where none was asked for."""
    found = view.findings
    if found is None:
        return {}
    created = view.description.get("created")
    record = plain({"sweep": folder.name, "created": created, **as_json(found, view.resolved)})
    contents: dict[Path, str | bytes] = {
        folder.comparison_json: json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        folder.comparison_md: comparison_markdown(found, folder.name),
        folder.comparison_tex: comparison_latex(found, folder.name),
    }
    if found.tracks:
        contents[folder.comparison_png] = image(comparison_sheet(found, f"Comparison of {folder.name}"))
    return contents


def _study(folder: SweepFolder, view: SweepView) -> Contents:
    """The study's files; nothing where none with an axis was asked for."""
    study = asked_study(view)
    if study is None:
        return {}
    result = study_result(view, study)
    return {
        folder.study_md: study_markdown(view, result),
        folder.study_tex: study_latex(view, result),
        folder.study_png: image(study_sheet(view, result)),
    }


def _replace(target: Path, content: bytes) -> None:
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    except OSError as refusal:
        partial.unlink(missing_ok=True)
        raise ValueError(f"storage {target.parent} cannot be written: {refusal}") from refusal
