"""Libraries that say less for a while: log lines, progress bars and warnings are as before on leaving."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_loggers(*names: str, level: int) -> Iterator[None]:
    """These loggers let nothing below `level` through inside."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)


@contextmanager
def without_warnings(category: type[Warning], message: str = "") -> Iterator[None]:
    """No warnings of a category inside whose text starts with `message`, a regular expression."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message, category)
        yield


@contextmanager
def without_datasets_bars() -> Iterator[None]:
    """No progress bars of datasets inside."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


@contextmanager
def without_transformers_bars() -> Iterator[None]:
    """No progress bars of transformers inside."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
