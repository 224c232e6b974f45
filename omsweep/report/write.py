"""Writes what people look at into a sweep's folder: front.json, front.png, report.html, the study, the comparison."""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from omsweep.foreign import error_line
from omsweep.report.comparison_chart import comparison_sheet
from omsweep.report.comparison_tables import comparison_latex, comparison_markdown
from omsweep.report.draw_matplotlib import image
from omsweep.report.front_chart import front_sheet
from omsweep.report.page import page
from omsweep.report.study_chart import study_sheet
from omsweep.report.study_table import study_latex, study_markdown
from omsweep.report.trials.data import scores_csv
from omsweep.results.answers.whole import as_json as as_answers
from omsweep.results.answers.whole import with_answers
from omsweep.results.comparison.reading import as_json, read_findings
from omsweep.results.course import course_of
from omsweep.results.losses import losses_of
from omsweep.results.samples import read_samples
from omsweep.results.study import asked_study, study_result
from omsweep.results.view import SweepView, view_of
from omsweep.space.build import build_space
from omsweep.store.folder import SweepFolder
from omsweep.store.log import LogReader
from omsweep.store.state import SweepState
from omsweep.strict_json import plain

Contents = Mapping[Path, str | bytes]


def write_front(folder: SweepFolder, state: SweepState | None = None) -> SweepView:
    """Write what is quick, `front.json` and the files of `SweepFolder.write_derived`; errors as `write_report`.

    Of a sweep from before the log those files are the only ones that say what happened, and stay as they are.
    """
    state = folder.state() if state is None else state
    view = view_of(folder, state)
    with _refusals(folder):
        if folder.events_jsonl.is_file():
            folder.write_derived(state)
        folder.write_front(view.summary)
    return view


def write_report(folder: SweepFolder, state: SweepState | None = None) -> None:
    """Write everything that is made from a sweep's log and tables, also before the last trial ends.

    Where the sweep asks for a comparison also `comparison.json`, `comparison.md`,
    `comparison.tex` and, where something could be compared, `comparison.png`.
    Where the space asks for a study, its `study.md`, `study.tex` and `study.png` too. Of a search `optuna.log`, without
    which there is a warning.

    Args:
        folder: of a sweep that was created.
        state: of the sweep, read from the folder where it is not given.

    Raises:
        FileNotFoundError: there is no such sweep.
        ValueError: the log is damaged, or the folder cannot be written.
    """
    state = folder.state() if state is None else state
    view = write_front(folder, state)
    view = with_answers(folder, _whole(folder, view), state)
    contents = {
        folder.answers_json: json.dumps(plain(as_answers(view)), indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        **_comparison(folder, view),
        folder.front_png: image(front_sheet(view)),
        folder.trials_csv: scores_csv(view),
        folder.report_html: page(view),
        **_study(folder, view),
        **_optuna(folder, state),
    }
    with _refusals(folder):
        folder.write_front(view.summary)
        for target, content in contents.items():
            folder.files.write(target.name, content.encode("utf-8") if isinstance(content, str) else content)


def _whole(folder: SweepFolder, view: SweepView) -> SweepView:
    """The view with what only a whole report shows."""
    events = LogReader(folder.files).new() if folder.events_jsonl.is_file() else []
    return replace(
        view,
        findings=read_findings(folder, view.resolved, view.trials),
        course=course_of(events),
        losses=losses_of(events),
        samples=read_samples(folder, view),
    )


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


def _optuna(folder: SweepFolder, state: SweepState) -> Contents:
    """The studies of a search for `optuna-dashboard`; nothing, with a warning, where they cannot be made again."""
    if state.resolved.get("mode") != "search" or not any(one.drawn for one in state.trials.values()):
        return {}
    from omsweep.plan.dashboard import journal  # Optuna, which nothing else here needs

    try:
        return {folder.optuna_log: journal(build_space(state.resolved), state)}
    except Exception as error:  # Optuna's or that of a file which the space names: the report does without
        warnings.warn(f"no {folder.optuna_log.name}: {error_line(error)}", stacklevel=2)
        return {}


@contextmanager
def _refusals(folder: SweepFolder) -> Iterator[None]:
    try:
        yield
    except OSError as refusal:
        raise ValueError(f"storage {folder.path} cannot be written: {refusal}") from refusal
