"""The `posthoc` section: mistakes, how many points, and which samples become of finished trials."""

from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from omsweep.commands.check.summary import summary
from omsweep.families.tiny.architecture import random_family
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.space.posthoc import points_of
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import preparation
from omsweep.trial.merge import check_models
from omsweep.trial.prepare.family import prepare_family

GRIDS: dict[str, Any] = {
    "interpolate": {"method": "linear", "weights": [0.2, 0.8]},
    "ties": {"method": "ties", "weights": [0.5, 0.9], "densities": [0.3, 0.7], "of": ["mine"]},
    "shift": {"method": "tau_shift", "weights": [0.05], "travel_of": "ondare", "of": ["adamw"]},
}


def built(content: dict[str, Any], **changes: Any) -> SearchSpace:
    return build_space(content | {"posthoc": GRIDS | changes})


MISTAKES = [
    ({"method": "slerp", "weights": [0.5]}, "posthoc.x.method: unknown method 'slerp'; allowed: linear, task_arith"),
    ({"weights": [0.5]}, "posthoc.x.method: is missing"),
    ({"method": "linear"}, "posthoc.x.weights: must be a list of weights in [0, 1], got none"),
    ({"method": "linear", "weights": [1.5]}, "posthoc.x.weights: weight of linear must be in [0, 1], got 1.5"),
    ({"method": "linear", "weights": ["a"]}, "posthoc.x.weights: weight of linear must be in [0, 1], got 'a'"),
    ({"method": "linear", "weights": [0.5, 0.5]}, "posthoc.x: weights, densities and seeds must not repeat a value"),
    ({"method": "expo", "weights": [-0.1]}, "posthoc.x.weights: weight of expo must be finite and >= 0, got -0.1"),
    ({"method": "layerwise", "weights": [0.5]}, "posthoc.x.weights: weight of layerwise must go by part: input, mid"),
    ({"method": "ties", "weights": [0.5]}, "posthoc.x.densities: method ties needs densities: numbers in (0, 1]"),
    ({"method": "dare", "weights": [0.5], "densities": [0]}, "posthoc.x.densities: density must be in (0, 1], got 0"),
    ({"method": "dare", "weights": [0.5], "densities": []}, "posthoc.x.densities: must not be an empty list"),
    ({"method": "linear", "weights": [0.5], "densities": [1.0]}, "posthoc.x.densities: method linear does not take"),
    ({"method": "expo", "weights": [0.5], "seeds": [1]}, "posthoc.x.seeds: method expo does not take seeds (dare, ti"),
    ({"method": "linear", "weights": [0.5], "of": ["sgd"]}, "posthoc.x.of: unknown label 'sgd'; allowed: adamw, ond"),
    ({"method": "linear", "weights": [0.5], "of": []}, "posthoc.x.of: must "),
    ({"method": "linear", "weights": [0.5], "travel_of": "ondare"}, "posthoc.x.travel_of: only method tau_shift"),
    ({"method": "tau_shift", "travel_of": "adamw"}, "posthoc.x.travel_of: must be a label whose method merges a task"),
    ({"method": "tau_shift", "travel_of": "sgd"}, "whose method merges a task vector (ondare, mine), got 'sgd'"),
    ({"method": "linear", "weight": [0.5]}, "posthoc.x.weight: unknown key 'weight'; allowed: method, weights, dens"),
]


@pytest.mark.parametrize(("grid", "expected"), MISTAKES, ids=[m[1] for m in MISTAKES])
def test_a_mistake_names_key_value_and_what_is_allowed(
    compare: dict[str, Any], grid: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SpaceError) as caught:
        built(compare, x=grid)
    assert expected in str(caught.value)


def test_a_label_names_files_and_a_search_has_no_blocks_to_travel_in(
    compare: dict[str, Any], search: dict[str, Any]
) -> None:
    with pytest.raises(SpaceError, match="posthoc.a/b: must be letters, digits"):
        build_space(compare | {"posthoc": {"a/b": GRIDS["interpolate"]}})
    with pytest.raises(SpaceError, match="posthoc.shift.travel_of: needs mode 'compare'"):
        built(search)


def test_a_base_that_does_not_fit_stops_the_preparation(compare: dict[str, Any], tmp_path: Path) -> None:
    base, sft = (
        random_family(tmp_path / name, hidden_size=32, intermediate_size=size) for name, size in (("b", 32), ("s", 48))
    )
    compare |= {"families": [{"name": "mine", "base": str(base), "sft": str(sft)}]}
    compare["space"]["method"] = {"adamw": {}}
    space = build_space(compare | {"posthoc": {"ties": GRIDS["ties"] | {"of": ["adamw"]}}})
    name, shapes = "model.layers.0.mlp.down_proj.weight", r"\(32, 32\) instead of \(32, 48\)"
    with pytest.raises(ValueError, match=rf"posthoc.ties cannot be made of mine's models: base .* {name} {shapes}"):
        prepare_family(preparation(space, "mine"), tqdm)


def test_base_and_sft_model_need_only_fit_where_a_point_is_made_of_both(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    folders = [str(random_family(tmp_path / str(size), hidden_size=32, intermediate_size=size)) for size in (32, 48)]
    users = preparation(built(compare), "tiny-llama").base_users
    assert users == ("posthoc.ties", "posthoc.shift")
    check_models([], "mine", *folders)
    check_models(users, "mine", folders[0], folders[0])
    with pytest.raises(
        ValueError, match=r"^posthoc.ties, posthoc.shift cannot .*; methods without base: linear, layer"
    ):
        check_models(users, "mine", *folders)


def test_points_are_counted_apart_from_trials(compare: dict[str, Any]) -> None:
    space = built(compare)
    assert [points_of(space.posthoc, label) for label in ("adamw", "ondare", "mine")] == [2 + 2, 2, 2 + 4]
    assert "72 trials = 2 families x 6 blocks x 2 seeds x 3 methods" in summary(space)
    assert f", {24 * 12} post-hoc points of them;" in summary(space)
    assert build_space(space.resolved()).posthoc == space.posthoc


def test_of_a_search_the_most_there_can_be_is_said(search: dict[str, Any]) -> None:
    without_travel = {label: grid for label, grid in GRIDS.items() if label != "shift"}
    searched = summary(build_space(search | {"posthoc": without_travel}))
    assert "30 trials over 1 families by tpe, at most 180 post-hoc points of them" in searched
