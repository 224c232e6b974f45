"""How a function of `kernels` becomes one: traced over tensors of unknown sizes, then compiled by TorchInductor.

This is torch.compile without the part that reads Python bytecode and guards every call, and without the wrappers that
sort out gradients and inputs that overlap: the functions here are known, take matrices and vectors that share no memory
with each other, and are told apart by kind, dtypes and device.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from omsweep.optim.kernels import NUMBERS, WORDS, Held, Kind
from omsweep.optim.watched import SEEN

ROWS, COLUMNS, WATCHED = 1031, 2053, 521
"""Sizes while tracing. Equal ones would be taken for one and the same, so that these differ from all others. How a
kernel is spread over threads or blocks follows from them, so that they are those of large tensors; nothing is written.
"""
_SHAPES = {
    "lanes": (COLUMNS,),
    "entries": (WATCHED,),
    "merged": (WATCHED,),
    "seen": (WATCHED, len(SEEN)),
    "numbers": (len(NUMBERS),),
    "words": (len(WORDS),),
}

_KEPT: list[Any] = []
"""Every compiled graph. Their code is called directly, without the graph's own call, which sees to profilers and caches
first, and a graph that is let go takes parts of its code along."""

Kernel = Callable[[list[Tensor]], Sequence[Any]]
"""Takes a list of tensors, which it empties, and returns a sequence of them."""


def given(held: Held, *others: Tensor) -> list[Tensor]:
    """What a `kernel` is called with."""
    return [tensor for tensor in (*held, *others) if tensor is not None]


def on_given(function: Callable[..., Any], kind: Kind, present: Sequence[bool]) -> Callable[..., Any]:
    """`function(held, *others, kind=kind)` as one of `*given(held, *others)`; `present`: which of all are not None."""

    def of_given(*tensors: Tensor) -> Any:
        those = iter(tensors)
        every = [next(those) if there else None for there in present]
        return function(Held(*every[: len(Held._fields)]), *every[len(Held._fields) :], kind=kind)

    return of_given


def kernel(function: Callable[..., Any], kind: Kind, held: Held, *others: Tensor) -> Kernel:
    """`function(held, *others, kind=kind)` compiled for tensors like these of any size; called with `given` ones.

    All but the vectors of `Held` must be contiguous matrices of one shape.

    Compiled once per process for a function, kind, dtypes and device.
    """
    dtypes = tuple(None if tensor is None else tensor.dtype for tensor in (*held, *others))
    return _compiled(function, kind, dtypes, others[0].device)


def vectors_kernel(function: Callable[..., Any], *rows: Tensor) -> Any:
    """`function(*rows)` compiled for vectors and matrices of as many rows, once per process and device.

    Only the number of rows may differ between calls; all are float32.
    """
    return _rows_compiled(function, tuple(tensor.shape[1:] for tensor in rows), rows[0].device)(list(rows))[0]


@functools.cache
def _rows_compiled(function: Callable[..., Any], shapes: Sequence[torch.Size], device: torch.device) -> Kernel:
    return _traced(function, [torch.empty(WATCHED, *shape, device=device, dtype=torch.float32) for shape in shapes])


@functools.cache
def _compiled(
    function: Callable[..., Any], kind: Kind, dtypes: Sequence[torch.dtype | None], device: torch.device
) -> Kernel:
    names = [*Held._fields, *[""] * (len(dtypes) - len(Held._fields))]
    examples = [
        torch.empty(_SHAPES.get(name, (ROWS, COLUMNS)), dtype=dtype, device=device)
        for name, dtype in zip(names, dtypes, strict=True)
        if dtype is not None
    ]
    return _traced(on_given(function, kind, [dtype is not None for dtype in dtypes]), examples)


def _traced(function: Callable[..., Any], examples: Sequence[Tensor]) -> Kernel:
    """`function` of tensors, compiled for any sizes; those that are equal among `examples` stay equal."""
    from torch._inductor.compile_fx import compile_fx, compile_fx_inner
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(function, tracing_mode="symbolic")(*examples)
    symbolic = [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]
    inner: list[Any] = []

    def keep(*args: Any, **settings: Any) -> Any:
        inner.append(compile_fx_inner(*args, **settings))
        return inner[-1]

    options = {"size_asserts": False, "alignment_asserts": False}
    compile_fx(graph, symbolic, inner_compile=keep, config_patches=options)
    _KEPT.append(inner[0])
    run: Kernel = inner[0].current_callable
    return run
