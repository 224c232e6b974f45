"""What merging two folders of 494 M parameters holds in memory, measured in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc/self/status")
@pytest.mark.parametrize(("method", "folders", "layers"), [("linear", 2, 24), ("ties", 3, 0)])
def test_peak_memory_is_a_few_pieces(tmp_path: Path, method: str, folders: int, layers: int) -> None:
    """Of the whole process at most 3 times the largest tensor plus 300 MB, and pieces far less than one tensor.

    TIES, which reads each tensor five times, is measured on the largest tensor alone.
    """
    script, found = ROOT / "benchmarks" / "merge_memory.py", tmp_path / "memory.json"
    options = ["--methods", method, "--layers", str(layers), "--folder", str(tmp_path), "--json", str(found)]
    done = subprocess.run(
        [sys.executable, str(script), *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    measured = json.loads(found.read_text())
    (row,) = measured["rows"]
    assert (row["method"], row["folders"]) == (method, folders)
    assert row["peak_mb"] < measured["bound_mb"]
    assert row["peak_mb"] - row["before_mb"] < measured["largest_mb"] / 2
