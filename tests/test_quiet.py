"""Silenced libraries speak again afterwards, whatever happened inside."""

import logging
import warnings
from contextlib import suppress

import datasets
import pytest
from transformers.utils import logging as transformers_logging

from omsweep.quiet import quiet_loggers, without_datasets_bars, without_transformers_bars, without_warnings


def test_loggers_are_quiet_inside_and_as_they_were_after(caplog: pytest.LogCaptureFixture) -> None:
    first, second = logging.getLogger("first"), logging.getLogger("second")
    second.setLevel(logging.INFO)
    with suppress(KeyError), quiet_loggers("first", "second", level=logging.ERROR):
        first.warning("hidden")
        second.error("said")
        raise KeyError
    assert [record.message for record in caplog.records] == ["said"]
    assert (first.level, second.level) == (logging.NOTSET, logging.INFO)


def test_warnings_of_a_kind_are_left_out() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with without_warnings(FutureWarning, "`old`"):
            warnings.warn("`old` goes away", FutureWarning, stacklevel=1)
            warnings.warn("`new` comes", FutureWarning, stacklevel=1)
            warnings.warn("`old` in another way", UserWarning, stacklevel=1)
        warnings.warn("`old` goes away", FutureWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["`new` comes", "`old` in another way", "`old` goes away"]


@pytest.mark.parametrize("shown", [True, False])
def test_bars_are_hidden_inside_and_as_they_were_after(shown: bool) -> None:
    with without_datasets_bars(), without_transformers_bars():
        if shown:
            datasets.enable_progress_bars()
            transformers_logging.enable_progress_bar()
        with without_datasets_bars(), without_transformers_bars():
            assert datasets.are_progress_bars_disabled()
            assert not transformers_logging.is_progress_bar_enabled()
        assert datasets.are_progress_bars_disabled() == (not shown)
        assert transformers_logging.is_progress_bar_enabled() == shown
