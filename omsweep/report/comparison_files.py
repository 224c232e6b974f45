"""The comparison as files of a sweep's folder: comparison.json, comparison.md, comparison.tex, attainment.png."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omsweep.report.comparison_figures import attainment_image
from omsweep.report.comparison_tables import tables
from omsweep.report.text_table import latex, markdown, markdown_text
from omsweep.results.comparison.findings import Findings
from omsweep.results.comparison.reading import as_json
from omsweep.store.folder import SweepFolder
from omsweep.strict_json import plain


def comparison_markdown(found: Findings, name: str) -> str:
    """All tables of the comparison, and what is not shown and why."""
    reasons = "".join(f"- {markdown_text(reason)}\n" for reason in found.missing)
    parts = [f"## Comparison of {markdown_text(name)}\n", *(markdown(table) for table in tables(found))]
    return "\n".join([*parts, *([f"### Not shown\n\n{reasons}"] if reasons else [])])


def comparison_latex(found: Findings, name: str) -> str:
    """All tables of the comparison as LaTeX."""
    head = f"% Comparison of {name}; needs \\usepackage{{booktabs}} and \\usepackage{{graphicx}}\n"
    reasons = "".join(f"% Not shown: {' '.join(reason.split())}\n" for reason in found.missing)
    return "\n".join([head + reasons, *(latex(table) for table in tables(found))])


def comparison_contents(folder: SweepFolder, found: Findings, description: Mapping[str, Any]) -> dict[Path, bytes]:
    """What to write for the findings of a sweep, by file; the image only where arms were compared.

    Args:
        folder: the sweep's.
        found: its findings.
        description: the content of its `sweep.json`.
    """
    record = plain(
        {"sweep": folder.name, "created": description.get("created"), **as_json(found, description["resolved"])}
    )
    contents = {
        folder.comparison_json: json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        folder.comparison_md: comparison_markdown(found, folder.name),
        folder.comparison_tex: comparison_latex(found, folder.name),
    }
    written = {path: text.encode("utf-8") for path, text in contents.items()}
    if found.arms:
        written[folder.attainment_png] = attainment_image(found, f"Comparison of {folder.name}")
    return written
