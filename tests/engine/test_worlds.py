"""Worlds with known answers, from the command line: what must be found is found, what is not there is not."""

import importlib.util
import json
from pathlib import Path

import pytest

from omsweep.cli import main

ROOT = Path(__file__).parents[2]
WORLDS = ROOT / "search_spaces" / "tiny" / "worlds"


def same_arms():
    spec = importlib.util.spec_from_file_location("same_arms", ROOT / "benchmarks" / "same_arms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_replay_is_better_and_adamw_is_no_better_than_itself(tmp_path, capsys):
    assert main(["run", str(WORLDS / "replay.yaml"), "--name", "w", "--storage", str(tmp_path)]) == 0
    lines = json.loads((tmp_path / "w" / "comparison.json").read_text())["lines"]
    assert [line["verdict"] for line in lines if line["verdict"] is not None] == ["better"]
    capsys.readouterr()
    assert same_arms().main([str(tmp_path / "w")]) == 0
    found = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert set(found) <= {"not shown", "equivalent"}
