"""What a sweep still writes is known before it is begun, and a disk that is too small is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omsweep.engine import room
from omsweep.engine.room import SMALL_FILES, check_room, to_write
from omsweep.families.table import FAMILIES
from omsweep.plan.design import draw
from omsweep.space.build import build_space

MADE: dict[str, Any] = {
    "name": "small",
    "mode": "compare",
    "families": ["tiny-llama"],
    "space": {"algorithm": "dpo", "learning_rate": 4e-4, "beta": 0.1, "method": {"adamw": {}}},
    "design": {"blocks": 4},
    "train": {"steps": 100, "batch_size": 8, "backend": "inprocess"},
}
POLICY = 4 * (FAMILIES["tiny-llama"].size or 0)


def written(**changes: Any) -> Any:
    space = build_space(MADE | changes)
    return to_write(space, draw(space))


def test_every_policy_counts_in_the_bytes_of_its_dtype() -> None:
    assert written() == {"4 policies": 4 * POLICY, "log and tables": SMALL_FILES}
    assert written(train=MADE["train"] | {"dtype": "bfloat16"})["4 policies"] == 2 * POLICY


def test_checkpoints_of_the_trials_at_work_count() -> None:
    train = MADE["train"] | {"checkpoint_every": 30, "concurrent_trials": 2}
    assert written(train=train)["checkpoints of 2 at work"] == 2 * 2 * 3 * POLICY
    kept = written(train=train, keep={"checkpoints": "all"})
    assert kept["checkpoints of 4 at work"] == 4 * 2 * 3 * POLICY
    assert written(train=train | {"backend": "train"})["checkpoints of 2 at work"] == 2 * 3 * 3 * POLICY


def test_merged_policies_count_that_are_kept() -> None:
    grid = {"method": "linear", "weights": [0.3, 0.6]}
    terms = written(posthoc={"line": grid, "kept": grid | {"keep": True}})
    assert (terms["merged policies that are kept"], terms["one that is merged and scored"]) == (8 * POLICY, POLICY)


def test_a_search_counts_its_smallest_family_and_nothing_that_is_done() -> None:
    search = {**MADE, "mode": "search", "families": ["tiny-llama", "tiny-qwen2"], "search": {"trials": 9}}
    space = build_space({name: value for name, value in search.items() if name != "design"})
    assert to_write(space, 3)["3 policies"] == 3 * 4 * (FAMILIES["tiny-qwen2"].size or 0)
    assert to_write(space, 0) == {}


def test_a_disk_that_is_too_small_is_refused_with_what_is_needed_and_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = build_space(MADE)
    check_room(space, draw(space), tmp_path)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: SimpleNamespace(total=7_000_000, free=6_000_000))
    said = r"has room for 6.0 MB, and the sweep writes at least 11.\d MB = 4 policies 7.\d MB \+ log and tables 4.0 MB;"
    with pytest.raises(ValueError, match=said):
        check_room(space, draw(space), tmp_path)
    check_room(space, [], tmp_path)
