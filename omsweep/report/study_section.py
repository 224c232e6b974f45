"""The report page's section of the study that the space asks for."""

from base64 import b64encode

from omsweep.report.markup import text
from omsweep.report.study_figure import study_image
from omsweep.report.study_table import study_tables
from omsweep.report.text_table import html
from omsweep.results.study import asked_study, study_result
from omsweep.results.view import SweepView


def study_section(view: SweepView) -> str:
    """Figure and tables as HTML; empty where no study with an axis is asked for or nothing has ended."""
    study = asked_study(view)
    if study is None or not view.trials:
        return ""
    result = study_result(view, study)
    image = b64encode(study_image(view, result)).decode("ascii")
    shown = f"{study.title}: reward and tax of {' and '.join(result.families)}; every number stands in the table below."
    figure = f'<figure class="card study"><img alt="{text(shown)}" src="data:image/png;base64,{image}"></figure>'
    tables = "".join(html(table) for table in study_tables(view, result))
    return f'<section id="study"><h2>{text(study.title)}</h2>{figure}{tables}</section>'
