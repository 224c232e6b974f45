"""The ready-made view of a sweep's runs: reward against tax, parallel coordinates and the columns to read them by.

MLflow keeps a shared view as a tag of the experiment, `mlflow.sharedViewState.<key>`, and opens it at an address that
ends with `viewStateShareKey=<key>`. The tag holds a name, two times and the state of the runs page, JSON that is
deflated and written in base64; the fields are those that the page of MLflow 3.17 reads and writes.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from omsweep.store.state import SweepState

TAG = "mlflow.sharedViewState."
RUNS = "workflowType=machine_learning"
"""Without it the UI opens an experiment on its page for traces, which is empty here."""
SECTION = "omsweep"
OUTCOMES = ("reward", "tax", "reward_report", "tax_report", "kl", "length_ratio")
"""Metrics that a view has as columns, and a model of the front beside its run."""


def runs_page(experiment_id: str) -> str:
    """Where the UI shows an experiment's runs, behind the server's address."""
    return f"#/experiments/{experiment_id}/runs?{RUNS}"


def view_page(experiment_id: str, key: str) -> str:
    """Where it shows a view's charts."""
    return f"{runs_page(experiment_id)}&compareRunsMode=CHART&viewStateShareKey={key}"


def view_key(sweep_id: str) -> str:
    """The key of a sweep's own view."""
    return f"omsweep-{sweep_id[:12]}"


def trials_filter(name: str) -> str:
    """What finds the trials of a sweep among the runs of its project."""
    return f"tags.sweep = '{name}' AND tags.`omsweep.run` = 'trial'"


def view_tag(state: SweepState) -> str:
    """The tag's value for a sweep: its trials alone, told apart by optimizer."""
    name = str(state.created["name"])
    written = round(1000 * state.created["created"])
    packed = base64.b64encode(zlib.compress(json.dumps(_page(state, name)).encode(), 9)).decode()
    return json.dumps(
        {"name": f"{name}: reward and tax", "createdAt": written, "updatedAt": written, "state": f"deflate;{packed}"}
    )


def _page(state: SweepState, name: str) -> dict[str, Any]:
    reward, tax = (objectives_of(state.resolved)[role] for role in ("reward", "tax"))
    knobs = drawn_knobs(state.resolved)
    outcomes = dict.fromkeys((reward, tax, *OUTCOMES))
    columns = [
        _column("tags", "front"),
        *(_column("metrics", name) for name in outcomes),
        *(_column("params", name) for name in knobs),
    ]
    return {
        "searchFilter": trials_filter(name),
        "orderByKey": f"metrics.`{reward}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": _charts(reward, tax, knobs),
        "compareRunSections": [
            {
                "uuid": SECTION,
                "name": "Reward and tax",
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
                "columns": 2,
                "cardHeight": 400,
            }
        ],
        "isAccordionReordered": True,
        "autoRefreshEnabled": True,
    }


def _charts(reward: str, tax: str, knobs: Sequence[str]) -> list[dict[str, Any]]:
    card = {"deleted": False, "isGenerated": False, "metricSectionId": SECTION}
    scatter = {
        **card,
        "uuid": f"{SECTION}-scatter",
        "type": "SCATTER",
        "displayName": f"{reward} against {tax}",
        "xaxis": {"key": tax, "type": "METRIC"},
        "yaxis": {"key": reward, "type": "METRIC"},
        "runsCountToCompare": 100,
    }
    report = {
        **scatter,
        "uuid": f"{SECTION}-report",
        "displayName": "the same on the report split",
        "xaxis": {"key": f"{tax}_report", "type": "METRIC"},
        "yaxis": {"key": f"{reward}_report", "type": "METRIC"},
    }
    parallel = {
        **card,
        "uuid": f"{SECTION}-parallel",
        "type": "PARALLEL",
        "displayName": "settings, tax and reward",
        "selectedParams": list(knobs),
        "selectedMetrics": [tax, reward],
        "showAllRuns": True,
        "runsCountToCompare": 100,
    }
    return [scatter, report, parallel]


def drawn_knobs(resolved: Mapping[str, Any]) -> list[str]:
    """Settings that all trials have and that differ between them, where there are several."""
    space = resolved.get("space") or {}
    shared = [name for name, value in space.items() if isinstance(value, Mapping) and name != "method"]
    return [*(["family"] if len(resolved.get("families") or ()) > 1 else []), "label", *shared]


def objectives_of(resolved: Mapping[str, Any]) -> dict[str, str]:
    """The metrics that are `reward` and `tax` of a sweep."""
    asked = resolved.get("objectives") or {}
    return {role: asked.get(role, role) for role in ("reward", "tax")}


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"
