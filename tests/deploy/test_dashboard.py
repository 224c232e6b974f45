"""The Grafana dashboard asks for the series that a sweep has, and for no others."""

import json
import re
from pathlib import Path

import pytest

BOARD = json.loads((Path(__file__).parents[2] / "deploy/grafana/omsweep.json").read_text())
SERIES = {
    "ray_omsweep_trials": {"sweep", "state"},
    "ray_omsweep_hypervolume": {"sweep", "family"},
    "ray_omsweep_front_size": {"sweep", "family"},
    "ray_omsweep_tokens_per_second": {"sweep", "family"},
    "ray_omsweep_phase_seconds_total": {"sweep", "phase"},
    "ray_omsweep_attempts_lost_total": {"sweep", "reason"},
}
"""By name, with what tells one line from another; Ray puts `ray_` before our names."""
QUERY = re.compile(r'max by \(([\w, ]+)\) \((\w+)\{sweep=~"\$sweep"\}\)')


@pytest.mark.parametrize("panel", BOARD["panels"], ids=lambda panel: panel["title"])
def test_every_panel_asks_for_a_series_of_a_sweep_by_the_labels_it_has(panel: dict) -> None:
    (target,) = panel["targets"]
    labels, series = QUERY.fullmatch(target["expr"]).groups()
    assert set(labels.split(", ")) == SERIES[series]
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == SERIES[series]
    assert panel["fieldConfig"]["defaults"]["unit"] == ("s" if "seconds" in series and "per" not in series else "short")
    assert panel["description"]
    assert panel["datasource"] == target["datasource"]


def test_every_series_has_a_panel_and_no_panel_hides_another() -> None:
    asked = [QUERY.fullmatch(panel["targets"][0]["expr"])[2] for panel in BOARD["panels"]]
    assert sorted(asked) == sorted(SERIES)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]}
    assert len(places) == len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_sweeps_and_the_prometheus_can_be_chosen() -> None:
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "sweep"}
    assert variables["sweep"]["query"] == "label_values(ray_omsweep_trials, sweep)"
    assert variables["sweep"]["includeAll"]
    assert variables["datasource"]["query"] == "prometheus"
