"""Names of parameters: canonical ones, and how many a message lists."""

import pytest

from omsweep.merging.names import canonical_name, listed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("model.weight", "model.weight"),
        ("module.model.weight", "model.weight"),
        ("_orig_mod.module.model._fsdp_wrapped_module.a._checkpoint_wrapped_module.b", "model.a.b"),
        ("submodule.weight", "submodule.weight"),
        ("a.module", "a.module"),
        ("weight", "weight"),
    ],
)
def test_canonical_names(given: str, expected: str) -> None:
    assert canonical_name(given) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], "none"), (["a"], "a"), (list("abcde"), "a, b, c, d, e"), (list("abcdefg"), "a, b, c, d, e and 2 more")],
)
def test_up_to_five_names_are_listed(names: list[str], expected: str) -> None:
    assert listed(names) == expected
