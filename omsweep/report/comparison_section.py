"""The page's section with the comparison: tables, attainment, and what is not shown."""

from omsweep.report.comparison_figures import attainment_figure
from omsweep.report.comparison_tables import cell_html, tables
from omsweep.report.figures import figure_html
from omsweep.report.markup import text
from omsweep.report.text_table import html
from omsweep.results.view import SweepView

ELEMENT = "comparison"


def comparison(view: SweepView) -> str:
    """The section as HTML; empty where no headline was asked for."""
    found = view.findings
    if found is None:
        return ""
    reasons = "".join(f"<li>{text(reason)}</li>" for reason in found.missing)
    not_shown = f'<div class="caution"><p><b>Not shown</b></p><ul>{reasons}</ul></div>' if reasons else ""
    written = [html(table, cell_html) for table in tables(found)]
    figures = "".join(
        f'<figure class="card" aria-label="Attainment of {text(family)}"><h3>{text(family)}</h3>'
        f"<figcaption>What half of an arm's blocks attain on the report split; the dashed line is t.</figcaption>"
        f"{figure_html(attainment_figure(found, family), element_id=f'attainment-{i}', include_library=False)}</figure>"
        for i, family in enumerate(found.families)
        if found.arms
    )
    drawn = f'<div class="figures">{figures}</div>' if figures else ""
    body = "".join([*written[:2], drawn, *written[2:]])
    return f'<section id="{ELEMENT}"><h2>Comparison</h2>{not_shown}{body}</section>'
