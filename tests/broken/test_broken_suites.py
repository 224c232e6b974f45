"""Whatever is broken in a folder of tasks: it can be scored, or one sentence of ours names the suite, in seconds."""

import time
from pathlib import Path

import pytest

from omsweep.evaluation.scored_texts import scored_texts
from omsweep.evaluation.settings import EvaluateSettings
from tests.broken.suites import broken_suites, write_suite

COUNT, SEED, SECONDS = 60, 17, 8


@pytest.fixture(autouse=True)
def own_cache_and_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_broken_suite_can_be_scored_or_is_refused_in_one_line(tmp_path: Path) -> None:
    refused: list[tuple[Path, ValueError]] = []
    scored_texts(EvaluateSettings(tax=str(write_suite(tmp_path / "good"))))  # what is imported first takes its time
    for suite in broken_suites(tmp_path, COUNT, SEED):
        started = time.monotonic()
        try:
            scored_texts(EvaluateSettings(tax=str(suite)))
        except ValueError as error:
            refused.append((suite, error))
        assert time.monotonic() - started < SECONDS, suite
    for suite, error in refused:
        assert type(error) is ValueError
        assert str(suite) in str(error), error
        assert "\n" not in str(error), error
        assert len(str(error)) < 3000, error
    assert COUNT / 4 < len(refused) < COUNT  # neither nothing is wrong, nor everything
