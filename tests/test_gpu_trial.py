"""The GPU script: a toy run on a CPU without Ray or MLflow; blocks that fit, lines that are kept, and the table."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from omsweep.store.records import TrialSpec
from tests.benchmark_scripts import benchmark_script

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu_trial.py"
METHODS = ["adamw", "ondare", "onties"]

WITHOUT = """
import runpy, sys

sys.modules.update(dict.fromkeys(("ray", "mlflow", "optuna", "plotly")))  # as if they were not installed
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_a_toy_run_trains_and_scores_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    output = tmp_path / "output"
    options = ["--toy", "--output", str(output), "--seeds", "1", "--learning-rates", "1e-3"]
    command = [sys.executable, "-c", WITHOUT, str(SCRIPT), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (output / "trials.jsonl").read_text().splitlines()]
    assert [line["method"] for line in lines] == METHODS
    assert {(line["state"], line["steps"]) for line in lines} == {("completed", 2)}
    assert all(line["reward"] is not None and line["kl"] >= 0 and line["wall"] > 0 for line in lines)
    assert all(line["diagnostics"]["displacement"] > 0 for line in lines)
    assert not list((output / "policies").iterdir())
    assert (output / "table.md").read_text().count("| 0.001 | ondare | 1 |") == 2  # its means, and its difference


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return benchmark_script("gpu_trial")


@pytest.fixture
def clock(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trials of 10 s that train nothing, on a clock of their own; the list says which were run."""
    now, run = [0.0], []

    def trial(spec: TrialSpec, *_: Any) -> dict[str, Any]:
        now[0] += 10
        run.append(spec.trial_id)
        kept = {name: getattr(spec, name) for name in ("trial_id", "method", "seed")}
        kept["learning_rate"] = spec.params["learning_rate"]
        numbers = {"reward": spec.trial_id.count("-s1-") + 0.5 * (spec.method == "ondare"), "tax": 1.0, "kl": 0.1}
        return {**kept, **numbers, "state": "completed", "wall": 10.0, "diagnostics": {}, "seconds": {}}

    monkeypatch.setattr(script.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(script, "prepare_family", lambda *_: (None, None))
    monkeypatch.setattr(script, "score_references", lambda *_: 0)
    monkeypatch.setattr(script, "one_trial", trial)
    return run


def space_of(script: ModuleType) -> Any:
    sizes = {"steps": 3, "batch_size": 32, "max_length": 512, "dtype": "float32", "limit": None}
    return script.real_space(argparse.Namespace(learning_rates=[1e-5, 4e-5], seeds=2, **sizes))


def test_the_real_space_is_what_the_script_says(script: ModuleType) -> None:
    space = space_of(script)
    train = space.file.train
    assert (train.steps, train.batch_size, train.max_length, train.dtype) == (3, 32, 512, "float32")
    assert (space.preferences.name, space.evaluate.limit, space.families[0].name) == (
        "smollm2-large",
        None,
        "smollm2-135m",
    )
    blocks = script.blocks_of(space)
    first, second = (space.design.training_seed(0, 0, repeat) for repeat in range(2))
    assert [(block[0].seed, block[0].params["learning_rate"]) for block in blocks] == [
        (first, 1e-5),
        (first, 4e-5),
        (second, 1e-5),
        (second, 4e-5),
    ]
    assert all([spec.method for spec in block] == METHODS for block in blocks)


def test_only_whole_blocks_are_begun_and_a_later_run_goes_on(
    script: ModuleType, clock: list[str], tmp_path: Path
) -> None:
    space = space_of(script)
    first = script.run(space, tmp_path, seconds=65)
    assert [(line["seed"], line["learning_rate"]) for line in first] == [
        *[(space.design.training_seed(0, 0, 0), 1e-5)] * 3,
        *[(space.design.training_seed(0, 0, 0), 4e-5)] * 3,
    ]
    kept = (tmp_path / "trials.jsonl").read_text()
    assert script.run(space, tmp_path, seconds=5) == first
    assert (tmp_path / "trials.jsonl").read_text() == kept
    assert len(script.run(space, tmp_path, seconds=1000)) == 12
    assert len(clock) == len(set(clock)) == 12


def test_the_table_compares_within_blocks(script: ModuleType, clock: list[str], tmp_path: Path) -> None:
    table = script.table(script.run(space_of(script), tmp_path, seconds=1000))
    means, differences = table.split("\n\n")
    assert "| 1e-05 | adamw | 2 | 0.5 (sd 0.71) | 1 (sd 0) |" in means
    assert "| 1e-05 | ondare | 2 | 0.5 (sd 0) | 0 (sd 0) | 0 (sd 0) |" in differences
    assert "adamw |" not in differences


def test_from_three_blocks_on_a_difference_has_an_interval(script: ModuleType) -> None:
    assert script.interval([1.0, 2.0, 3.0]) == "+2 ± 1.7"  # 2.920 / sqrt(3)
    assert script.interval([1.0, 2.0]) == "1.5 (sd 0.71)"


def test_outputs_of_several_processes_are_joined(
    script: ModuleType,
    clock: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, b, other = outputs = [tmp_path / name for name in ("a", "b", "other")]
    for output, seed, steps in zip(outputs, (0, 1, 1), (100, 100, 200), strict=True):
        output.mkdir()
        (output / "space.json").write_text(json.dumps({"train.steps": steps}))
        (output / "trials.jsonl").write_text("".join(json.dumps(script.one_trial(spec)) + "\n" for spec in specs(seed)))
    joined = ("--output", tmp_path / "joined", "--join", a)
    assert run_main(script, monkeypatch, *joined, b) == 0
    assert "| 1e-05 | ondare | 2 |" in (tmp_path / "joined" / "table.md").read_text()
    with pytest.raises(SystemExit):
        run_main(script, monkeypatch, *joined, other)
    assert f"{other} holds trials of other options: train.steps 200, not 100" in capsys.readouterr().err
    (b / "space.json").unlink()
    with pytest.raises(SystemExit):
        run_main(script, monkeypatch, *joined, b)
    assert f"{b} holds trials but no space.json" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_main(script, monkeypatch, *joined, tmp_path / "absent")


def run_main(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["gpu_trial.py", *map(str, arguments)])
    code: int = script.main()
    return code


OTHER_OPTIONS = [
    (("--steps", 200), "train.steps 100, not 200"),
    (("--batch-size", 16), "train.batch_size 32, not 16"),
    (("--max-length", 256), "train.max_length 512, not 256"),
    (("--dtype", "bfloat16"), "train.dtype 'float32', not 'bfloat16'"),
    (("--limit", 5), "evaluate.limit None, not 5"),
]


@pytest.mark.parametrize(("other", "said"), OTHER_OPTIONS, ids=[other[0] for other, _ in OTHER_OPTIONS])
def test_an_output_keeps_its_options(
    script: ModuleType,
    clock: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    other: tuple[str, object],
    said: str,
) -> None:
    rates = ("--learning-rates", 1e-5)
    assert run_main(script, monkeypatch, "--output", tmp_path, "--seeds", 1, *rates) == 0
    with pytest.raises(SystemExit) as caught:
        run_main(script, monkeypatch, "--output", tmp_path, "--seeds", 1, *rates, *other)
    assert caught.value.code == 2
    assert f"holds trials of other options: {said}\n" in capsys.readouterr().err
    assert len(clock) == 3
    assert run_main(script, monkeypatch, "--output", tmp_path, "--seeds", 2, *rates, 4e-5) == 0
    assert len(clock) == 12


def test_an_output_of_unknown_options_is_not_gone_on_with(
    script: ModuleType, clock: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trials.jsonl").write_text("")
    with pytest.raises(SystemExit):
        run_main(script, monkeypatch, "--output", tmp_path)
    assert not clock
    assert not (tmp_path / "space.json").exists()


def test_the_toy_takes_no_sizes(
    script: ModuleType,
    clock: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run_main(script, monkeypatch, "--toy", "--output", tmp_path, "--steps", 50, "--batch-size", 8)
    assert "--toy has sizes of its own, leave out --steps, --batch-size\n" in capsys.readouterr().err
    assert not clock


def test_a_number_that_a_trial_lacks_is_left_out(script: ModuleType, clock: list[str], tmp_path: Path) -> None:
    lines = script.run(space_of(script), tmp_path, seconds=1000)
    lines[0]["reward"] = None
    assert "| 1e-05 | ondare | 2 | 0.5 | 0 (sd 0) | 0 (sd 0) |" in script.table(lines).split("\n\n")[1]


def specs(seed: int) -> list[TrialSpec]:
    made = {"family": "f", "seed": seed, "params": {"learning_rate": 1e-5}}
    return [TrialSpec(trial_id=method, method=method, **made) for method in METHODS]
