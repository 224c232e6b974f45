"""The scripts that measure the optimizer, at toy size: they run, and low precision keeps what it should."""

import importlib
import importlib.util
import math
from pathlib import Path

import pytest
import torch

from tests.benchmark_scripts import benchmark_script

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_plain_row_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = benchmark_script("optimizer_step")
    monkeypatch.setitem(benchmark.SETS, "toy", [(64, 96), (50,)])
    plain = [row for row in benchmark.rows(quick=False) if row.path == "plain"]
    monkeypatch.setattr(benchmark, "rows", lambda quick: plain)
    found = benchmark.measure("toy", "float32", "cpu", 1, False)
    assert [row["row"] for row in found] == [row.label for row in plain]
    assert len(plain) == 5
    for row in found:
        assert all(math.isfinite(row[key]) and row[key] > 0 for key in ("ms", "fused_ms", "ratio", "state_bytes"))
        assert row["peak_bytes"] >= 2 * 4 + row["state_bytes"] + row["tau_bytes"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_recommended_precision_keeps_updates_and_what_is_merged_in(dtype: torch.dtype) -> None:
    update, merged = benchmark_script("precision_survival").survival(dtype, "stochastic", 60, 400_000)
    assert update > 0.99
    assert 0.95 < merged < 1.05
    lost, _ = benchmark_script("precision_survival").survival(torch.bfloat16, "nearest", 20, 50_000)
    assert lost < 0.1


@pytest.mark.slow
def test_diagnostics_are_those_of_all_entries_on_any_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))  # the ranks that it starts find it there too
    benchmark = importlib.import_module("diagnostics_exact")
    rows = benchmark.table((2,), 3, (0.5, 5e-4), {"a": (200, 300), "b": (50_000,)})
    assert len(rows) == 4
    assert benchmark.worst(rows, benchmark.RECORDED) < 1e-6
    for row in rows:
        away = abs(row.found["tau_travel"] - row.exact["tau_travel"])
        assert away <= 0.02 * row.exact["tau_travel"] + 3 * row.error["tau_travel"], row
