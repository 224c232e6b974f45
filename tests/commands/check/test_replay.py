"""`check --replay`: what a scheduler would have done to the trials of a sweep."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from omsweep.cli import BAD_USAGE, main
from omsweep.plan.optuna import StudyProposer
from omsweep.space.build import build_space
from omsweep.store.state import Rung
from tests.written_sweep import WrittenSweep

SPACE: dict[str, Any] = {
    "name": "new",
    "mode": "search",
    "families": ["tiny-llama"],
    "space": {"algorithm": "dpo", "learning_rate": {"loguniform": [1e-4, 1e-3]}, "beta": 0.1, "method": {"adamw": {}}},
    "search": {"algorithm": "random", "trials": 6},
    "train": {"steps": 40},
    "scheduler": {"algorithm": "moasha", "first_rung": 20, "items": 4, "eta": 2, "never_stop": 0},
}
GOOD, CHEAP, BAD, WORSE = (1.0, 0.5), (0.5, 0.4), (6.0, 0.1), (0.2, -0.1)
"""Tax and reward; the last is worse than the SFT model."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file whose rung lies where the sweep `old` was scored: two good trials, a bad one, one that became good."""
    path, sweep = tmp_path / "space.yaml", WrittenSweep(tmp_path, "old")
    path.write_text(yaml.safe_dump(SPACE))
    sweep.create(build_space(SPACE).resolved())
    proposer = StudyProposer(build_space(SPACE))
    ends = [(GOOD, GOOD), (CHEAP, (0.8, 0.4)), (BAD, BAD), (BAD, (0.5, 0.45)), (BAD, None), (WORSE, WORSE)]
    for here, end in ends:
        made = proposer.next()
        assert made is not None
        name, spec = made.spec.trial_id, made.spec.to_json() | {"rungs": [[0, 20, 4]]}
        proposer.tell(name, None)
        sweep.happened("proposed", name, trial=spec)
        rung = Rung(0, 20, here[1], here[0], (0.01, -0.01), (0.01, 0.0), decision="go on")
        sweep.happened("rung", name, 1, **rung.to_json())
        scores = {"state": "stopped"} if end is None else {"state": "completed", "tax": end[0], "reward": end[1]}
        seconds = {"train": 21.0, "evaluate": 4.0}
        sweep.happened("ended", name, outcome={**scores, "seconds": seconds, "reward_se_items": 0.01})
    rows = [("tax", "sums", number) for number in range(10)] + [("reward", "tiny", number) for number in range(6)]
    frame = pd.DataFrame(rows, columns=["kind", "task", "item_id"]).assign(split="search")
    sweep.write_reference_scores("tiny-llama", frame)
    return path


def replay(file: Path, *overrides: str) -> int:
    sets = [part for one in overrides for part in ("--set", one)]
    return main(["check", str(file), "--storage", str(file.parent), "--replay", "old", *sets])


def test_it_says_what_stopping_saves_and_whom_it_costs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(file) == 0
    said = capsys.readouterr().out.splitlines()[-5:]
    assert said[0].startswith("replay of old: 5 of its 6 trials, one at a time; 1 that ")
    # 19 s of training and 4 s of scoring each, half of the items at a rung: 2 s; three trials leave after 11.5 s
    assert said[1].startswith(
        f"  tiny-llama: would stop 3 of 5 trials and take {(2 * 25 + 3 * 11.5) / (5 * 23):.0%} of"
    )
    assert said[2] == "  tiny-llama: of the 2 members of the front 1 would be stopped: tiny-llama-003-adamw"
    assert said[3] == "  tiny-llama: hypervolume 9.58 of 9.72"
    assert said[4] == "  tiny-llama: rung 0, after 20 steps: rank correlation with the end 0.70 over 5 trials"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("scheduler.first_rung=10", "lie after 10 steps (4 items), 20 steps (8 items), and tiny-llama-000-adamw was"),
        ("scheduler.items=5", "lie after 20 steps (5 items), and tiny-llama-000-adamw was scored after 20 steps (4"),
        ("scheduler={}", "scheduler.algorithm is none"),
        (
            "search.constraints={kl: {at_most: 3}}",
            "scored under search.constraints {}, and the file has {'kl': {'at_most'",
        ),
        ("objectives.reference_point={reward: 0, tax: 5}", "of old were scored under objectives {"),
    ],
)
def test_a_rule_that_cannot_be_asked_is_named(
    file: Path, capsys: pytest.CaptureFixture[str], change: str, said: str
) -> None:
    assert replay(file, change) == BAD_USAGE
    assert said in capsys.readouterr().err


def test_a_sweep_that_is_not_there_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file), "--storage", str(file.parent), "--replay", "odd"]) == BAD_USAGE
    assert f"--replay: no sweep odd in {file.parent}" in capsys.readouterr().err
