"""Training leaves the process as it was: trials run one after another in a reused actor."""

import gc
import logging
import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
import transformers
from accelerate.state import AcceleratorState, GradientState, PartialState
from transformers import PreTrainedModel

from omsweep.quiet import quiet_loggers, without_datasets_bars, without_transformers_bars

ACCELERATE_STATES = (PartialState, AcceleratorState, GradientState)
CONFIG_FIELDS = ("use_cache", "pad_token_id", "bos_token_id", "eos_token_id")


@contextmanager
def isolated_training(model: PreTrainedModel) -> Iterator[None]:
    """Everything a trainer changes besides the weights is put back on leaving; progress bars are off meanwhile.

    That is: random generators (Python, NumPy, torch, CUDA), environment variables, log levels, the torch thread count,
    accelerate's process-wide state, and on the model its patched `forward`, training mode, tags, gradients and which
    parameters want them, hooks of the input embeddings, gradient checkpointing, `use_cache` and special token ids.
    Weights and device are what training leaves.
    """
    with ExitStack() as stack:
        stack.enter_context(without_datasets_bars())
        stack.enter_context(without_transformers_bars())
        # after a resume it has a line for every gathered tensor
        stack.enter_context(quiet_loggers("accelerate", level=logging.WARNING))
        for restore in (
            _random_generators(),
            _environment(),
            _transformers_verbosity(),
            _accelerate_state(),
            _model_attributes(model),
        ):
            stack.callback(restore)
        stack.callback(gc.collect)  # trainers hold reference cycles, and with them the optimizer's state
        yield


def _random_generators() -> Callable[[], None]:
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)

    return restore


def _environment() -> Callable[[], None]:
    variables, threads = dict(os.environ), torch.get_num_threads()

    def restore() -> None:
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]
        for name, value in variables.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    return restore


def _transformers_verbosity() -> Callable[[], None]:
    verbosity = transformers.logging.get_verbosity()
    return lambda: transformers.logging.set_verbosity(verbosity)


def _accelerate_state() -> Callable[[], None]:
    """Trainers of one process share accelerate's state, device choice included: each run starts from a blank one."""
    before = [dict(state._shared_state) for state in ACCELERATE_STATES]
    for state in ACCELERATE_STATES:
        state._shared_state.clear()

    def restore() -> None:
        for state, content in zip(ACCELERATE_STATES, before, strict=True):
            state._shared_state.clear()
            state._shared_state.update(content)

    return restore


def _model_attributes(model: PreTrainedModel) -> Callable[[], None]:
    attributes = dict(model.__dict__)  # `forward` among them only if someone else has patched the model before
    configs = [config for config in (model.config, getattr(model, "generation_config", None)) if config is not None]
    fields: list[tuple[Any, str, Any]] = [
        (config, name, getattr(config, name)) for config in configs for name in CONFIG_FIELDS if hasattr(config, name)
    ]
    training, checkpointing = model.training, model.is_activation_checkpointing
    embeddings = model.get_input_embeddings()
    hooks = dict(embeddings._forward_hooks)  # adapters under gradient checkpointing add some and lose track of them
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]

    def restore() -> None:
        for name in model.__dict__.keys() - attributes.keys():
            del model.__dict__[name]
        model.__dict__.update(attributes)
        for config, name, value in fields:
            setattr(config, name, value)
        if model.is_activation_checkpointing and not checkpointing:
            model.activation_checkpointing_disable()
        embeddings._forward_hooks.clear()
        embeddings._forward_hooks.update(hooks)
        for parameter, requires_grad in wanted:
            parameter.requires_grad_(requires_grad)
        model.train(training)
        model.zero_grad(set_to_none=True)

    return restore
