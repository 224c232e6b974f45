"""The suite of public benchmarks names tasks, metrics and filters that the installed lm-eval has; no data load."""

from pathlib import Path

import lm_eval
import pytest
import yaml

from omsweep.evaluation.settings import TAX_SUITES

TASKS = Path(lm_eval.__file__).parent / "tasks"
MEMBERS = [
    member
    for file in sorted(TAX_SUITES["public"].glob("*.yaml"))
    for member in yaml.safe_load(file.read_text())["task"]
]


class Loader(yaml.SafeLoader):
    """Reads lm-eval's files without importing the functions they name."""


Loader.add_multi_constructor("!function", lambda loader, suffix, node: node.value)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member["task"])
def test_the_task_exists_with_its_metric_and_filter(member):
    name, changes = member["task"], member["metadata"]
    read = [yaml.load(file.read_text(), Loader) for file in sorted((TASKS / name).glob("*.yaml"))]
    task = next(entry for entry in read if entry.get("task") == name)
    assert not task.get("unsafe_code"), "no benchmark here runs what a model writes"
    metrics = [entry["metric"] for entry in task["metric_list"]]
    assert changes.get("metric", metrics[0]) in metrics
    filters = [entry["name"] for entry in task.get("filter_list", [])]
    assert "filter" not in changes or changes["filter"] in filters


def test_every_task_has_a_category_of_its_own():
    categories = [member["metadata"]["category"] for member in MEMBERS]
    assert len(set(categories)) == len(categories) == 4
