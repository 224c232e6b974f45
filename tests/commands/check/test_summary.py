"""What `check` says of a search before it runs."""

from typing import Any

from omsweep.commands.check.summary import notes
from omsweep.space.build import build_space


def test_a_search_with_more_trials_than_recipes_is_told_so(search: dict[str, Any]) -> None:
    space = {"algorithm": {"choice": ["dpo", "ipo", "kto"]}, "learning_rate": {"choice": [4e-4, 8e-4]}, "beta": 0.1}
    few = search | {"space": space | {"method": {"adamw": {}}}, "baselines": {}}
    said = "search.trials: 30 trials a family and 6 recipes: the rest repeat them with new seeds"
    assert said in notes(build_space(few))
    assert not any("recipes" in note for note in notes(build_space(search)))


def test_a_model_that_would_propose_nothing_is_said_of_every_algorithm_that_has_one(search: dict[str, Any]) -> None:
    for algorithm, said in {"tpe": True, "nsga2": True, "gp": True, "random": False}.items():
        search["search"] = {"algorithm": algorithm, "trials": 8}
        assert any("nothing would be model-based" in note for note in notes(build_space(search))) == said
