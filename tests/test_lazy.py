"""Public names of packages are found on first use, and others are named."""

from importlib import import_module
from pathlib import Path

import pytest

import omsweep
from omsweep.lazy import lazy

ROOT = Path(omsweep.__file__).parent
LAZY = [
    ".".join(["omsweep", *file.parent.relative_to(ROOT).parts])
    for file in sorted(ROOT.rglob("__init__.py"))
    if "__getattr__" in file.read_text()
]


def test_nothing_is_imported_before_a_name_is_asked_for() -> None:
    getattr_, dir_, names = lazy("package", {"b": "no_such_module", "OrderedDict": "collections"})
    assert names == dir_() == ["OrderedDict", "b"]
    assert getattr_("OrderedDict").__module__ == "collections"
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        getattr_("b")
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'c'"):
        getattr_("c")


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_of_a_package_is_there(package: str) -> None:
    module = import_module(package)
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None
