"""Writes what people look at into a sweep's folder: front.json, front.png, report.html, the study, the comparison."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omsweep.results.view import SweepView, read_view
from omsweep.store.folder import SweepFolder


def write_front(folder: SweepFolder, *, report_scores: Mapping[str, Mapping[str, Any]] | None = None) -> SweepView:
    """Write `front.json` alone: quick enough after every trial. Arguments and errors as `write_report`."""
    view = read_view(folder, report_scores)
    folder.write_front(view.summary)
    return view


def write_report(folder: SweepFolder, *, report_scores: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Write `front.json`, `front.png` and `report.html` from the trials the folder holds, also before the last ends.

    Where the sweep asks for the headline (`objectives.tax_limit`) also `comparison.json`, `comparison.md`,
    `comparison.tex` and, where something could be compared, `attainment.png`.
    Where the space asks for a study, its `study.md`, `study.tex` and `study.png` too.

    Args:
        folder: of a sweep that was created.
        report_scores: per trial id what it scored on the report split, fields as in the trial object (`reward`,
            `reward_se_items`, `tax`, ...); front members show them. Those given earlier are kept.

    Raises:
        FileNotFoundError: there is no such sweep.
        ValueError: the folder cannot be written.
    """
    from omsweep.report.comparison_files import comparison_contents
    from omsweep.report.page import page
    from omsweep.report.plots import front_image
    from omsweep.results.comparison.reading import read_findings

    view = write_front(folder, report_scores=report_scores)
    found = read_findings(folder, view.resolved, view.trials)
    if found is not None:
        for target, content in comparison_contents(folder, found, view.description).items():
            _replace(target, content)
        view = replace(view, findings=found)
    _replace(folder.front_png, front_image(view))
    _replace(folder.report_html, page(view).encode("utf-8"))
    _write_study(folder, view)


def _write_study(folder: SweepFolder, view: SweepView) -> None:
    from omsweep.report.study_figure import study_image
    from omsweep.report.study_table import study_latex, study_markdown
    from omsweep.results.study import asked_study, study_result

    study = asked_study(view)
    if study is None:
        return
    result = study_result(view, study)
    _replace(folder.study_md, study_markdown(view, result).encode("utf-8"))
    _replace(folder.study_tex, study_latex(view, result).encode("utf-8"))
    _replace(folder.study_png, study_image(view, result))


def _replace(target: Path, content: bytes) -> None:
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    except OSError as refusal:
        partial.unlink(missing_ok=True)
        raise ValueError(f"storage {target.parent} cannot be written: {refusal}") from refusal
