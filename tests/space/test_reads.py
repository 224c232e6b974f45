from typing import Any

from omsweep.align.order import Reading
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.space.reads import possible_reads, reads_of, search_seeds


def test_drawn_trials_read_what_they_train_and_the_space_no_less(compare: dict[str, Any]) -> None:
    replay = {"method": "adamw", "replay_share": 0.25}
    compare["space"]["method"] = {"adamw": {"steps": {"choice": [5, 9]}}, "replay": replay}
    compare["space"]["algorithm"] = "dpo"
    compare["design"] = {"blocks": 2, "seeds": 1, "seed": 3}
    compare["train"] = {"steps": 4, "batch_size": 8, "backend": "inprocess"}
    space = build_space(compare)
    [key] = {trial.data for trial in draw(space)}
    steps = {trial.seed: trial.params["steps"] for trial in draw(space) if trial.label == "adamw"}
    assert sorted(steps.values()) == [5, 9]
    found = reads_of([trial for trial in draw(space) if trial.family == space.family_names[0]])
    longest = {reading.seed: reading.examples for reading in found.pairs[key, "dpo"]}
    seeds = {space.design.training_seed(0, block, 0) for block in range(2)}
    assert set(longest) == seeds
    assert set(longest.values()) == {40, 72}
    assert set(found.replay) == {Reading(seed=seed, examples=8) for seed in seeds}
    possible = possible_reads(space)
    assert set(possible.pairs[key, "dpo"]) == {Reading(seed=seed, examples=72) for seed in seeds}
    assert set(possible.replay) == set(found.replay)


def test_a_search_reads_by_its_one_seed_and_those_of_its_replicates(search: dict[str, Any]) -> None:
    del search["space"]["method"]["mine"]  # what is left draws a real number in every branch
    assert search_seeds(build_space(search)) == [1]
    search["search"]["replicates"] = 2
    space = build_space(search)
    readings = [reading for read in possible_reads(space).pairs.values() for reading in read]
    assert {reading.seed for reading in readings} == {1, *map(space.search.training_seed, (1, 2))}


def test_a_recipe_of_choices_may_come_as_often_as_its_family_has_trials(search: dict[str, Any]) -> None:
    search["families"] = ["tiny-llama", "tiny-qwen2"]
    assert search_seeds(build_space(search)) == [1, *map(build_space(search).search.training_seed, range(1, 15))]


def test_trials_that_their_trainer_refuses_read_nothing(compare: dict[str, Any]) -> None:
    space = build_space(compare)
    trial = draw(space)[0]
    broken = trial.model_copy(update={"train": {**(trial.train or {}), "batch_size": 7, "workers": 2}})
    assert reads_of([broken]).pairs == {}
