"""Canonical parameter names: what a parameter is called however its module is wrapped. Torch-free."""

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})


def canonical_name(name: str) -> str:
    """`name` without the components that DDP, torch.compile, FSDP and activation checkpointing put in.

    Whole components only (`submodule.weight` stays), and never the last, which is the parameter's own.
    """
    *path, own = name.split(".")
    return ".".join([part for part in path if part not in WRAPPERS] + [own])
