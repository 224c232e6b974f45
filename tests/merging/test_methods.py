"""The table of methods: every row is one that the functions and the settings can take."""

import pytest

from omsweep.merging.consensus import CONSENSUS
from omsweep.merging.methods import BASELINE_METHOD, METHODS, SEMANTICS_NAMES, method_names
from omsweep.merging.sparsify import SPARSIFIERS


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_where_it_comes_from(name: str) -> None:
    assert METHODS[name].source.startswith("arXiv:")


@pytest.mark.parametrize("name", METHODS)
def test_the_functions_of_a_method_are_there(name: str) -> None:
    method = METHODS[name]
    assert method.sparsifier in SPARSIFIERS
    elections = {elect for consensus, elect in CONSENSUS if consensus == method.consensus}
    assert bool(elections) == method.merges_tau
    assert ("elect" in method.knobs) == (len(elections) > 1)
    if method.pull != "none":
        assert (method.sparsifier, method.consensus) == ("all", "none")


@pytest.mark.parametrize("name", METHODS)
def test_knobs_fit_what_a_method_does(name: str) -> None:
    method = METHODS[name]
    assert ("alpha" in method.knobs) == (method.merges_tau or method.pull != "none")
    assert ("density" in method.knobs) == (method.sparsifier != "all")
    assert ("tau_mask" in method.knobs) == (method.merges_tau and method.sparsifier != "all")
    assert ("average_rate" in method.knobs) == (method.pull == "average")


@pytest.mark.parametrize("name", METHODS)
def test_knobs_left_open_are_said_for_every_semantics(name: str) -> None:
    method = METHODS[name]
    said = method.by_semantics
    assert tuple(said) == (SEMANTICS_NAMES if "semantics" in method.knobs else ())
    assert not (said and method.defaults)
    for values in list(said.values()) or [method.defaults]:
        assert set(values) <= set(method.knobs)
        missing = {"rescale", "elect", "tau_mask", "min_kept", "average_rate"} & set(method.knobs) - set(values)
        assert not missing


def test_the_baseline_alone_is_plain() -> None:
    assert method_names(lambda method: method.is_plain) == (BASELINE_METHOD,)


def test_what_follows_of_each_method() -> None:
    assert method_names(lambda method: method.merges_tau) == ("linear", "ondare", "onties", "della")
    assert method_names(lambda method: method.masks_alone) == ("childtuning",)
    assert method_names(lambda method: method.travel_is_known) == ("linear", "ondare")
    assert method_names(lambda method: method.tau_keeps_direction) == ("linear", "ondare")
    assert method_names(lambda method: method.needs_semantics) == ("ondare", "onties")
