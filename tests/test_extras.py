"""Optional packages: what is missing, and what to install."""

import tomllib
from pathlib import Path

import pytest

from omsweep import extras
from omsweep.extras import EXTRAS, missing, needs, require

ROOT = Path(__file__).parents[1]


def test_what_is_there_is_not_missing() -> None:
    assert missing(["json", "no_such_module_anywhere"]) == ["no_such_module_anywhere"]
    assert needs("it", ["json"]) is None
    require("it", [])


def test_missing_packages_are_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    with pytest.raises(ValueError, match=r"^it needs gguf, vaderSentiment, not .*: pip install 'omsweep\[smollm2\]'$"):
        require("it", ["gguf", "vaderSentiment"])


def test_a_module_of_no_extra_is_named_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    assert str(needs("it", ["mine"])).endswith(": pip install mine")
    assert str(needs("it", ["gguf", "mine"])).endswith(": pip install 'omsweep[smollm2]' mine")


def test_every_extra_is_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = {extra: [entry.replace("-", "_") for entry in entries] for extra, entries in declared.items()}
    for module, extra in EXTRAS.items():
        assert any(entry.startswith(module) for entry in packages[extra])
