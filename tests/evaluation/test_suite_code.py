"""Python that a suite names does not run unless the search space says that it may, and `check` says where it is."""

from pathlib import Path
from typing import Any

import pytest

from omsweep.commands.check.summary import notes
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.suite import load_suite
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from tests.broken.suites import write_suite


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = write_suite(tmp_path / "suite")
    (folder / "words.yaml").rename(folder / "base")
    (folder / "base").write_text((folder / "base").read_text().replace("'{{prompt}} ?'", "!function own.asked"))
    (folder / "words.yaml").write_text("include: base\ntask: words\n")
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef asked(doc):\n    return doc['prompt']\n")
    return folder


def test_code_is_refused_with_its_place_unless_it_is_allowed(
    suite: Path, tmp_path: Path, compare: dict[str, Any]
) -> None:
    place = f"{suite}/base:8 own.asked"
    with pytest.raises(ValueError, match=f"allow_suite_code must be true for the tax suite {suite}, .*: {place}"):
        EvaluateSettings(tax=str(suite))
    with pytest.raises(SpaceError, match="evaluate.allow_suite_code: allow_suite_code must be true"):
        build_space(compare | {"evaluate": {"tax": str(suite)}})
    space = build_space(compare | {"evaluate": {"tax": str(suite), "allow_suite_code": True}})
    assert f"evaluate.tax: loading the suite runs Python of its own: {place}" in notes(space)
    assert not (tmp_path / "ran").exists()
    assert len(load_suite(suite).items["words"]) == 6
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("true", ["true", "True", "yes"])
def test_a_metric_that_is_fetched_is_code(tmp_path: Path, true: str) -> None:
    suite = write_suite(tmp_path / "suite")
    text = (suite / "words.yaml").read_text()
    (suite / "words.yaml").write_text(text.replace("metric: exact_match", f"metric: rouge\n  hf_evaluate: {true}"))
    with pytest.raises(ValueError, match=r"allow_suite_code must be true .*words\.yaml:\d+ hf_evaluate"):
        EvaluateSettings(tax=str(suite))
