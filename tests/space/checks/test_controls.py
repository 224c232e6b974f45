"""Controls in a search space: which task vector each branch merges, and of which SFT model."""

from collections import Counter
from typing import Any

import pytest

from omsweep.commands.check.summary import summary
from omsweep.plan.starting_points import live_knobs
from omsweep.results.front import label_of
from omsweep.space.build import build_space
from omsweep.space.checks.controls import other_seed
from omsweep.space.knobs import SpaceError
from omsweep.space.samples import online_merge
from omsweep.store.records import TASK_VECTORS, TrialRecord
from tests.space_files import drawn

CONTROL = {"method": "ondare", "semantics": "equations", "alpha": 1e-3, "density": 0.5, "task_vector": "permuted"}
LOCAL: dict[str, Any] = {"name": "mine", "base": "models/base", "sft": "models/sft"}


def test_a_branch_has_a_task_vector_of_its_own(compare: dict[str, Any]) -> None:
    compare["space"]["method"]["ondare-permuted"] = CONTROL
    samples = drawn(build_space(compare))
    assert {(s["label"], s["task_vector"]) for s in samples} == {
        ("adamw", "real"),
        ("ondare", "real"),
        ("mine", "real"),
        ("ondare-permuted", "permuted"),
    }
    assert all(s["trial_id"].endswith(s["label"]) for s in samples)


def test_a_shared_one_is_drawn_once_per_block_for_the_methods_that_merge_one(compare: dict[str, Any]) -> None:
    before = drawn(build_space(compare))
    compare["space"]["task_vector"] = {"choice": ["real", "permuted", "flipped"]}
    samples = drawn(build_space(compare))
    strip = [{key: value for key, value in s.items() if key != "task_vector"} for s in samples]
    assert strip == [{key: value for key, value in s.items() if key != "task_vector"} for s in before]
    assert {s["task_vector"] for s in samples if s["label"] == "adamw"} == {"real"}
    for label in ("ondare", "mine"):
        kinds = [s["task_vector"] for s in samples if s["label"] == label]
        assert Counter(kinds) == {"real": 8, "permuted": 8, "flipped": 8}
    blocks = {(s["family"], s["block"], s["task_vector"]) for s in samples if s["label"] != "adamw"}
    assert len(blocks) == 2 * 6


def test_a_search_asks_for_it_only_under_methods_that_merge_one(search: dict[str, Any]) -> None:
    search["space"]["task_vector"] = {"choice": ["real", "permuted"]}
    space = build_space(search)
    asked = {branch.label: "task_vector" in live_knobs(space, branch) for branch in space.branches}
    assert asked == {"adamw": False, "ondare": True, "mine": True}


def test_without_any_such_method_it_is_refused(compare: dict[str, Any]) -> None:
    compare["space"] |= {"method": {"adamw": {}, "ema": {"alpha": 0.1}}, "task_vector": "permuted"}
    with pytest.raises(SpaceError, match=r"space\.task_vector: no method here merges .*allowed with: linear, ondare"):
        build_space(compare)


@pytest.mark.parametrize("where", ["shared", "branch"])
def test_another_seed_needs_another_sft_model(compare: dict[str, Any], where: str) -> None:
    owner = compare["space"] if where == "shared" else compare["space"]["method"]["ondare"]
    owner["task_vector"] = {"choice": ["real", "other_seed"]}
    build_space(compare)  # embedded families train one
    compare["families"].append(LOCAL)
    path = "space.task_vector" if where == "shared" else "space.method.ondare.task_vector"
    with pytest.raises(SpaceError) as caught:
        build_space(compare)
    assert str(caught.value).startswith(f"{path}: other_seed needs a second SFT model, and family 'mine' has one: give")
    for other in ("models/other", ["models/other", "models/third"]):
        compare["families"][-1] = LOCAL | {"other_sft": other}
        build_space(compare)


def test_alpha_0_is_a_control_without_a_task_vector(compare: dict[str, Any]) -> None:
    compare["space"]["method"]["alpha-0"] = {"method": "ondare", "semantics": "equations", "alpha": 0.0, "density": 0.5}
    sample = next(s for s in drawn(build_space(compare)) if s["label"] == "alpha-0")
    assert sample["alpha"] == 0.0
    assert not online_merge(sample).resolved().needs_task_vector


@pytest.mark.parametrize("kind", TASK_VECTORS)
def test_the_report_calls_an_arm_as_the_statistics_do(kind: str) -> None:
    record = TrialRecord(trial_id="t", state="completed", family="f", method="ondare", label="mine", task_vector=kind)
    assert label_of(record) == ("mine" if kind == "real" else f"mine/{kind}")


@pytest.mark.parametrize(
    ("seeds", "others"),
    [(range(1), [1]), (range(2), [1, 0]), (range(3), [1, 2, 0]), (range(4, 6), [5, 4]), (range(4, 5), [3])],
)
def test_the_other_seed_is_the_next_of_the_design(seeds: range, others: list[int]) -> None:
    assert [other_seed(seed, seeds) for seed in seeds] == others


def test_sft_seeds_are_as_many_as_a_family_has(compare: dict[str, Any]) -> None:
    compare["design"]["sft_seeds"] = 2
    compare["families"] = ["tiny-llama", LOCAL]
    with pytest.raises(SpaceError) as caught:
        build_space(compare)
    assert str(caught.value).startswith(
        "design.sft_seeds: must be at most 1, the number of SFT models of family 'mine', got 2; give it more with other"
    )
    compare["families"][1] = LOCAL | {"other_sft": "models/other"}
    compare["design"]["first_sft_seed"] = 1
    with pytest.raises(SpaceError, match=r"of family 'mine', got 3 \(first_sft_seed 1 and 2\)"):
        build_space(compare)
    del compare["design"]["first_sft_seed"]
    space = build_space(compare)
    assert "144 trials = 2 families x 2 SFT seeds x 6 blocks x 2 seeds x 3 methods" in summary(space)
    assert build_space(space.resolved()).resolved() == space.resolved()
