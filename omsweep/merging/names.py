"""Names of parameters: what they are however a module is wrapped, and how messages list them. Torch-free."""

from collections.abc import Iterable

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
LISTED_NAMES = 5


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
