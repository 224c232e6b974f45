"""`omsweep fork` on the command line: what it hands to the driver, and what it refuses before."""

from pathlib import Path
from typing import Any

import pytest

from omsweep import cli
from omsweep.engine import run as driver

SPACE = str(Path(__file__).parents[2] / "search_spaces" / "demo.yaml")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []

    def noted(space: Any, name: str, storage: Path, uri: Any, **options: Any) -> int:
        found.append((space.design.blocks, name, storage, options["fork"].path, options["extend"]))
        return 0

    monkeypatch.setattr(driver, "run_sweep", noted)
    return found


def test_the_driver_is_told_which_sweep_is_forked(tmp_path: Path, asked: list[tuple[Any, ...]]) -> None:
    words = ["fork", "old", SPACE, "--name", "new", "--storage", str(tmp_path), "--set", "design.blocks=5"]
    assert cli.main(words) == 0
    assert asked == [(5, "new", tmp_path, tmp_path / "old", False)]


def test_a_sweep_is_not_forked_into_itself(
    tmp_path: Path, asked: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fork", "old", SPACE, "--name", "old", "--storage", str(tmp_path)]) == 2
    assert "--name must be another than the sweep that is forked, got 'old' for both" in capsys.readouterr().err
    assert asked == []
