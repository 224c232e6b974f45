"""The blocked design is paired, covers every choice, fills its ranges and is a pure function of its seed."""

import json
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from omsweep.align.settings import train_settings_from
from omsweep.commands.check.summary import summary
from omsweep.optim.settings import OnlineMerge
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.store.records import TrialSpec
from tests.space_files import drawn


def test_trials_are_families_times_blocks_times_seeds_times_methods(compare: dict[str, Any]) -> None:
    samples = drawn(build_space(compare))
    assert len(samples) == 2 * 6 * 2 * 3
    assert len({s["trial_id"] for s in samples}) == len(samples)
    assert Counter(s["label"] for s in samples) == {"adamw": 24, "ondare": 24, "mine": 24}


def test_a_block_shares_its_draws_and_seed_over_methods(compare: dict[str, Any]) -> None:
    del compare["space"]["method"]["mine"]["learning_rate"]
    blocks = defaultdict(set)
    for s in drawn(build_space(compare)):
        shared = s["seed"], s["algorithm"], s["learning_rate"], s["beta"]
        blocks[s["family"], s["block"], s["seed"]].add(shared)
    assert len(blocks) == 24
    assert all(len(values) == 1 for values in blocks.values())


def test_a_ladder_trains_every_method_at_every_dose(compare: dict[str, Any]) -> None:
    alone = {s["trial_id"]: s for s in drawn(build_space(compare))}
    compare["design"]["ladder"] = [0.5, 1, 2]
    samples = drawn(build_space(compare))
    assert len(samples) == 3 * len(alone)
    for s in samples:
        start, _, dose = s["trial_id"].rpartition("-x")
        assert s["dose"] == float(dose)
        once = alone[start]
        assert s["learning_rate"] == once["learning_rate"] * s["dose"]
        changed = {"trial_id", "dose", "learning_rate"}
        assert {k: v for k, v in s.items() if k not in changed} == {k: v for k, v in once.items() if k not in changed}


@pytest.mark.parametrize("ladder", [[1, 1], [2, 1], [0, 1], [-1, 1]])
def test_a_ladder_rises_and_is_positive(compare: dict[str, Any], ladder: list[float]) -> None:
    compare["design"]["ladder"] = ladder
    with pytest.raises(SpaceError, match=r"^design.ladder"):
        build_space(compare)


def test_a_ladder_is_not_matched(compare: dict[str, Any]) -> None:
    compare["design"] |= {"ladder": [1, 2], "match": "share"}
    with pytest.raises(SpaceError, match="design.match must be none"):
        build_space(compare)


def test_a_branch_overrides_a_shared_knob_for_itself_alone(compare: dict[str, Any]) -> None:
    for s in drawn(build_space(compare)):
        assert (s["learning_rate"] == 2e-4) == (s["label"] == "mine")


def test_every_choice_occurs_equally_often_in_each_family(compare: dict[str, Any]) -> None:
    samples = [s for s in drawn(build_space(compare)) if s["label"] == "adamw"]
    for family in ("tiny-llama", "tiny-qwen2"):
        own = [s for s in samples if s["family"] == family]
        assert Counter(s["algorithm"] for s in own) == {"dpo": 4, "ipo": 4, "kto": 4}
        assert Counter(s["beta"] for s in own) == {0.05: 6, 0.1: 6}


def test_ranges_are_covered_evenly(compare: dict[str, Any]) -> None:
    compare["design"] = {"blocks": 64}
    samples = [s for s in drawn(build_space(compare)) if s["label"] == "ondare" and s["family"] == "tiny-llama"]
    for knob, low, high in (("learning_rate", 3e-4, 1e-3), ("tau_travel", 0.01, 0.3)):
        unit = np.log(np.array([s[knob] for s in samples]) / low) / np.log(high / low)
        assert np.histogram(unit, bins=8, range=(0, 1))[0].tolist() == [8] * 8  # 64 Sobol points, 8 equal bins


def test_the_design_depends_on_its_seed_only(compare: dict[str, Any]) -> None:
    space = build_space(compare)
    assert drawn(space) == drawn(space)
    other = build_space(compare | {"design": {"blocks": 6, "seeds": 2, "seed": 4}})
    assert drawn(space) != drawn(other)


def test_a_method_added_leaves_the_shared_draws_of_the_others_alone(compare: dict[str, Any]) -> None:
    before = {s["trial_id"]: s["algorithm"] for s in drawn(build_space(compare))}
    compare["space"]["method"]["childtuning"] = {"density": {"uniform": [0.1, 0.9]}}
    after = {s["trial_id"]: s["algorithm"] for s in drawn(build_space(compare))}
    assert all(after[trial_id] == algorithm for trial_id, algorithm in before.items())


def test_tau_travel_becomes_the_alpha_that_walks_it(compare: dict[str, Any]) -> None:
    space = build_space(compare)
    spec = next(spec for spec in draw(space) if spec.label == "ondare")
    alpha, density = spec.params["alpha"], spec.params["density"]
    assert alpha == pytest.approx(spec.params["tau_travel"] / (100 * density))
    settings = train_settings_from(spec.train)
    assert settings.merge == OnlineMerge("ondare", semantics="equations", alpha=alpha, density=density, seed=spec.seed)
    assert settings.steps == 100


def test_a_trial_survives_json_with_all_its_settings(compare: dict[str, Any]) -> None:
    compare["space"]["method"]["parts"] = {
        "method": "ondare",
        "semantics": "equations",
        "alpha": {"by_name": {"*": 0.1}},
    }
    for spec in draw(build_space(compare)):
        read = TrialSpec(**json.loads(json.dumps(spec.to_json())))
        assert train_settings_from(read.train) == train_settings_from(spec.train)
        assert read.identity == spec.identity


@pytest.mark.parametrize("blocks", [1, 3, 5])
def test_any_number_of_blocks_can_be_drawn(compare: dict[str, Any], blocks: int) -> None:
    compare["design"] = {"blocks": blocks}
    assert len(drawn(build_space(compare))) == 2 * blocks * 3


def test_every_sft_seed_meets_the_whole_design(compare: dict[str, Any]) -> None:
    one = drawn(build_space(compare))
    compare["design"]["sft_seeds"] = 3
    several = drawn(build_space(compare))
    assert {s["sft_seed"] for s in one} == {0}
    assert not any("-f0-" in s["trial_id"] for s in one)
    assert len({s["trial_id"] for s in several}) == len(several) == 3 * len(one)
    identity = ("trial_id", "sft_seed", "seed")
    assert len({(s["sft_seed"], s["seed"]) for s in several}) == len({s["seed"] for s in several}) == 3 * 12
    for sft_seed in range(3):
        own = [s for s in several if s["sft_seed"] == sft_seed]
        for plain, same in zip(one, own, strict=True):
            assert same["trial_id"] == plain["trial_id"].replace("-b", f"-f{sft_seed}-b", 1)
            assert {k: v for k, v in same.items() if k not in identity} == {
                k: v for k, v in plain.items() if k not in identity
            }


def test_a_sweep_can_be_run_in_parts_of_its_sft_seeds(compare: dict[str, Any]) -> None:
    """Every trial of every part is one of the whole sweep, and none is missing."""

    def part(**given: int) -> list[TrialSpec]:
        return draw(build_space(compare | {"design": {**compare["design"], **given}}))

    whole = part(sft_seeds=3)
    parts = [*part(sft_seeds=2), *part(first_sft_seed=2, sft_seeds=1)]
    assert sorted(parts, key=lambda spec: spec.trial_id) == sorted(whole, key=lambda spec: spec.trial_id)
    space = build_space(compare | {"design": {**compare["design"], "first_sft_seed": 2}})
    assert "x 1 SFT seeds from 2 x" in summary(space)
    assert {spec.seed for spec in part(first_sft_seed=2)}.isdisjoint(spec.seed for spec in part(sft_seeds=2))


def test_blocks_of_all_sft_seeds_come_before_the_next_block(compare: dict[str, Any]) -> None:
    compare["design"] = {"blocks": 2, "sft_seeds": 2}
    order = [(s["block"], s["sft_seed"]) for s in drawn(build_space(compare))]
    assert list(dict.fromkeys(order)) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_what_a_trainer_refuses_within_a_range_is_the_trials_own_failure(compare: dict[str, Any]) -> None:
    """Both ends of the range are whole examples for two workers, what lies between them need not be."""
    compare["space"] |= {"algorithm": "dpo", "replay_share": {"uniform": [0.125, 0.5]}}
    compare["design"] = {"blocks": 8}
    compare["train"] = {"workers": 2, "batch_size": 32}
    specs = draw(build_space(compare))
    assert len(specs) == 2 * 8 * 3
    refused = [spec for spec in specs if round(32 * spec.params["replay_share"]) % 2]
    assert refused
    with pytest.raises(ValueError, match="replay_share must be of examples that divide by workers"):
        train_settings_from(refused[0].train or {})


def test_a_design_can_grow(compare: dict[str, Any]) -> None:
    """What a block draws and its training seeds depend on the seed and its place, not on how many blocks there are."""

    def trials(**given: int) -> dict[str, TrialSpec]:
        return {spec.trial_id: spec for spec in draw(build_space(compare | {"design": {**compare["design"], **given}}))}

    small = trials(blocks=3, seeds=1)
    for grown in (trials(blocks=7, seeds=1), trials(blocks=3, seeds=3)):
        assert len(grown) > len(small)
        assert {trial_id: grown[trial_id] for trial_id in small} == small
    assert len({spec.seed for spec in trials(blocks=50, seeds=10).values()}) == 500
