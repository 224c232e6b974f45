"""Names of tensors: what they are however a module is wrapped, which part of a model they belong to, weights that
differ between parts, and how messages list them. Torch-free.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
LISTED_NAMES = 5
THIRDS = ("input", "middle", "output")
EMBEDDINGS = ("*embed*", "*wte*", "*wpe*")

NamedWeights: TypeAlias = Sequence[tuple[str, float]]
"""(third of the layers or glob over names, weight) pairs; the first that matches a tensor counts."""

_LAYER = re.compile(r"(.*?)\.(\d+)\.")


def canonical_name(name: str) -> str:
    """`name` without the components that DDP, torch.compile, FSDP and activation checkpointing put in.

    Whole components only (`submodule.weight` stays), and never the last, which is the parameter's own.
    """
    *path, own = name.split(".")
    return ".".join([part for part in path if part not in WRAPPERS] + [own])


def listed(names: Iterable[str]) -> str:
    """The first five names, then how many more there are: `a, b, c, d, e and 3 more`; `none` where there are none."""
    names = list(names)
    rest = len(names) - LISTED_NAMES
    return (", ".join(names[:LISTED_NAMES]) or "none") + (f" and {rest} more" if rest > 0 else "")


def layer_of(name: str) -> tuple[str, int] | None:
    """`model.layers.3.mlp.up_proj.weight` -> (`model.layers`, 3); None for a tensor outside of numbered layers."""
    numbered = _LAYER.match(name)
    return (numbered.group(1), int(numbered.group(2))) if numbered else None


def thirds(names: Iterable[str]) -> dict[str, str]:
    """The third of the layers that each tensor belongs to (arXiv:2309.06256: input, middle and output part).

    Of L layers, layer l (the l-th in order of number) lies in third floor(3 l / L), l from 0. Outside of layers,
    embeddings (names like `EMBEDDINGS`) belong to the input and all else (last norm, head) to the output; the paper
    speaks of layers only. Stacks of other names (encoder and decoder) are counted by themselves.

    Args:
        names: all names of a model.

    Returns:
        A member of `THIRDS` by name.
    """
    names = list(names)
    numbers: dict[str, set[int]] = {}
    for stack, number in filter(None, map(layer_of, names)):
        numbers.setdefault(stack, set()).add(number)
    ranks = {(stack, n): (i, len(found)) for stack, found in numbers.items() for i, n in enumerate(sorted(found))}
    parts: dict[str, str] = {}
    for name in names:
        layer = layer_of(name)
        if layer is not None:
            rank, count = ranks[layer]
            parts[name] = THIRDS[3 * rank // count]
        else:
            parts[name] = THIRDS[0] if is_embedding(name) else THIRDS[-1]
    return parts


def is_embedding(name: str) -> bool:
    """Whether a name looks like an embedding's."""
    return any(fnmatchcase(name, pattern) for pattern in EMBEDDINGS)


def weights_by_name(weights: NamedWeights, names: Iterable[str]) -> Mapping[str, float]:
    """Each tensor's weight: that of the first pair whose key is its third of the layers or a glob that matches it.

    Raises:
        ValueError: a tensor that nothing matches, or a glob that matches no tensor.
    """
    parts = thirds(names)
    for key, _ in weights:
        if key not in THIRDS and not any(fnmatchcase(name, key) for name in parts):
            raise ValueError(f"weight must go by {', '.join(THIRDS)} or globs over tensor names, none matches {key!r}")
    found: dict[str, float] = {}
    for name, third in parts.items():
        matching = (weight for key, weight in weights if key == third or (key not in THIRDS and fnmatchcase(name, key)))
        weight = next(matching, None)
        if weight is None:
            keys = ", ".join(key for key, _ in weights)
            raise ValueError(f"weight must have a key for every tensor, got none for {name} among {keys}; end with *")
        found[name] = weight
    return found
