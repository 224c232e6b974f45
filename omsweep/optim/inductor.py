"""How a function of `kernels` becomes one: traced over tensors of unknown sizes, then compiled by TorchInductor.

This is torch.compile without its first part, which reads Python bytecode and guards every call: the functions here are
known, take matrices and vectors only, and are told apart by kind, dtypes and device. A call costs a third of
torch.compile's.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from omsweep.optim.kernels import NUMBERS, WORDS, Held, Kind

ROWS, COLUMNS, WATCHED = 1031, 2053, 521
"""Sizes while tracing. Equal ones would be taken for one and the same, so that these differ from all others. How a
kernel is spread over threads or blocks follows from them, so that they are those of large tensors; nothing is written.
"""
_SHAPES = {
    "lanes": (COLUMNS,),
    "entries": (WATCHED,),
    "merged": (WATCHED,),
    "numbers": (len(NUMBERS),),
    "words": (len(WORDS),),
}

Kernel = Callable[..., Any]


def kernel(function: Callable[..., Any], kind: Kind, held: Held, *others: Tensor) -> Kernel:
    """`function(held, *others, kind=kind)` compiled for tensors like these of any size; called without `kind`.

    All but the vectors of `Held` must be contiguous matrices of one shape.

    Compiled once per process for a function, kind, dtypes and device.
    """
    dtypes = tuple(None if tensor is None else tensor.dtype for tensor in (*held, *others))
    run = _compiled(function, kind, dtypes, others[0].device)
    return lambda held, *others: run(*[tensor for tensor in (*held, *others) if tensor is not None])


@functools.cache
def _compiled(
    function: Callable[..., Any], kind: Kind, dtypes: Sequence[torch.dtype | None], device: torch.device
) -> Kernel:
    from torch._inductor import compile as compile_graph
    from torch.fx.experimental.proxy_tensor import make_fx

    def flat(*tensors: Tensor) -> Any:
        given = iter(tensors)
        every = [None if dtype is None else next(given) for dtype in dtypes]
        return function(Held(*every[: len(Held._fields)]), *every[len(Held._fields) :], kind=kind)

    names = [*Held._fields, *[""] * (len(dtypes) - len(Held._fields))]
    examples = [
        torch.empty(_SHAPES.get(name, (ROWS, COLUMNS)), dtype=dtype, device=device)
        for name, dtype in zip(names, dtypes, strict=True)
        if dtype is not None
    ]
    graph = make_fx(flat, tracing_mode="symbolic")(*examples)
    symbolic = [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]
    return compile_graph(graph, symbolic, options={"size_asserts": False, "alignment_asserts": False})
