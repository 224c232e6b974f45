"""What scoring leaves as it found it: random states, the model's mode, logging levels and progress bars."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from omsweep.quiet import quiet_loggers, without_datasets_bars

_CHATTY = ("lm_eval", "datasets", "transformers", "evaluate")


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Seed python's, numpy's and torch's global generators inside, and put their states back after."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """`model.eval()` without gradients inside; its training flag is put back after."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Let the scoring libraries log errors only and draw no progress bars."""
    import lm_eval.api.task

    with quiet_loggers(*_CHATTY, level=logging.ERROR), without_datasets_bars():
        # lm-eval offers no switch for the bar it draws for each task while building requests.
        lm_eval.api.task.tqdm = partial(tqdm, disable=True)
        try:
            yield
        finally:
            lm_eval.api.task.tqdm = tqdm
