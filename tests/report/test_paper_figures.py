"""The paper's figures are marked as not comparable, each with its place and a reason."""

import pytest

from omsweep.report.paper_figures import CURVES, FIGURES, paper_table
from omsweep.space.studies import STUDIES


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{figure.model} {figure.setting}")
def test_every_figure_has_its_place_and_why_it_is_not_comparable(figure):
    assert figure.reason
    assert figure.place.startswith(("Table", "Figure"))
    assert figure.study in STUDIES
    assert figure.values


def test_the_collapse_at_the_largest_alpha_is_in_the_table():
    table = paper_table("alpha")
    row = table.rows[-1]
    assert row[1:3] == ["OnDARE, alpha 1e-4", "Table 2"]
    assert "never published" in row[3]
    assert row[4:] == ["7.4", "1.00"]
    assert "not comparable" in table.title


def test_a_study_has_figures_or_a_curve_or_neither():
    assert paper_table("density") is None
    assert set(CURVES) <= set(STUDIES)
    assert not set(CURVES) & {figure.study for figure in FIGURES}
