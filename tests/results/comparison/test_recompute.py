"""benchmarks/recompute.py finds a report's areas with numpy alone, from the table of benchmarks/policies.py."""

import numpy as np
import pyarrow.parquet
import pytest

from omsweep.results.comparison.findings import findings
from omsweep.results.comparison.question import question_of
from tests.benchmark_scripts import benchmark_script

CONTRASTS = [["ondare", "adamw"], ["shuffled", "adamw"], ["ondare + path", "adamw + path"]]


@pytest.fixture(scope="module")
def recompute():
    return benchmark_script("recompute")


@pytest.mark.parametrize("lost", [(), [(1, "ondare", 2.0)]], ids=["whole", "a run lost"])
def test_the_areas_are_the_report_s(recompute, make_points, make_question_space, tmp_path, lost):
    points = make_points(gains={"ondare": 1.2}, reach={"shuffled": 0.8}, sft_seeds=4, runs=2, lost=lost)
    table = benchmark_script("policies").table_of(points)
    pyarrow.parquet.write_table(table.slice(0, 40), tmp_path / "first.parquet")
    pyarrow.parquet.write_table(table.slice(40), tmp_path / "second.parquet")
    question = question_of(make_question_space(contrasts=CONTRASTS))
    lines = [line for line in findings(points, question).lines if line.measure == "area"]
    read = recompute.read([tmp_path / "first.parquet", tmp_path / "second.parquet"])
    limits = {family: question.limit_of(family) for family in points.families}
    judged = [line for line in lines if line.verdict is not None]
    assert len(judged) == 3
    for line in judged:
        found = recompute.recomputed(read, (line.arm, line.against), "adamw", limits)
        assert found["value"] == pytest.approx(line.estimate.value, abs=1e-9)
        assert 0.4 < found["standard_error"] / line.estimate.standard_error < 1.6
    gained = recompute.recomputed(read, ("ondare", "adamw"), "adamw", limits)
    nothing = recompute.recomputed(read, ("adamw", "adamw"), "adamw", limits)
    assert gained["p"] < 0.02
    assert nothing["value"] == 0
    assert nothing["p"] == 1


def test_small_pieces_have_values_known_by_hand(recompute):
    assert recompute.rising(np.array([0.0, 3.0, 1.0, 4.0])).tolist() == [0.0, 2.0, 2.0, 4.0]
    assert recompute.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert recompute.sign_flip(np.array([1.0, 2.0, 3.0])) == 2 / 8
