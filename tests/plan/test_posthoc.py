"""Which post-hoc trials follow from finished ones."""

from typing import Any

import pytest

from omsweep.merging.posthoc import PosthocPoint
from omsweep.plan.posthoc import plan_posthoc
from omsweep.space.build import build_space
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TrialRecord
from omsweep.trial.merge import recorded_point
from tests.space_files import flat

GRIDS: dict[str, Any] = {
    "interpolate": {"method": "linear", "weights": [0.2, 0.8]},
    "ties": {"method": "ties", "weights": [0.5, 0.9], "densities": [0.3, 0.7], "of": ["mine"]},
    "shift": {"method": "tau_shift", "weights": [0.05], "travel_of": "ondare", "of": ["adamw"]},
}


def built(content: dict[str, Any], **changes: Any) -> SearchSpace:
    return build_space(content | {"posthoc": GRIDS | changes})


def trained(label: str, *, block: int = 0, state: str = "completed", **changes: Any) -> TrialRecord:
    known: dict[str, Any] = {
        "state": state,
        "family": "tiny-llama",
        "algorithm": "dpo",
        "label": label,
        "method": label,
        "block": block,
        "seed": block,
        "sft_seed": 1,
        "task_vector": "real",
        "params": {"learning_rate": 4e-4},
        "policy_path": "there" if state == "completed" else None,
        "weights_hash": "ab",
    }
    return TrialRecord(**({"trial_id": f"b{block}-{label}"} | known | changes))


def test_samples_belong_to_their_parent(compare: dict[str, Any]) -> None:
    trials = [
        trained("adamw", baseline=True, diagnostics={"travel": 0.0625, "residual": 2.0}),
        trained("ondare", diagnostics={"tau_travel": 0.5, "travel": 0.3125, "residual": 2.5}),
    ]
    plan = plan_posthoc(built(compare), trials)
    assert plan.left_out == 0
    assert [spec.trial_id for spec in plan.specs["b0-adamw"]] == [
        *("b0-adamw+interpolate-0", "b0-adamw+interpolate-1"),
        *("b0-adamw+shift-0", "b0-adamw+shift-1"),
    ]
    spec = plan.specs["b0-adamw"][-1]
    last = flat(spec)
    assert last["posthoc"] == {"method": "tau_shift", "weight": 0.25, "travel_of": "ondare"}
    assert PosthocPoint(**spec.point or {}) == recorded_point(last["posthoc"])
    assert spec.point == {"method": "tau_shift", "weight": 0.25}
    inherited = {"block": 0, "seed": 0, "sft_seed": 1, "family": "tiny-llama", "algorithm": "dpo", "baseline": True}
    own = {"kind": "posthoc", "parent": "b0-adamw", "method": "tau_shift", "label": "adamw+shift"}
    assert last == last | inherited | own | {"task_vector": "real", "learning_rate": 4e-4}


def test_over_a_ladder_the_shift_is_read_at_equal_residual(compare: dict[str, Any]) -> None:
    """AdamW at 3 beside tau lies between OnDARE's doses at 2 and 4; beyond them the nearest counts."""
    walks = {0.5: (0.05, 2.0), 1.0: (0.07, 4.0)}
    trials = [
        trained("adamw", dose=d, trial_id=f"a-x{d}", diagnostics={"travel": 0.01, "residual": r})
        for d, r in ((0.5, 1.5), (1.0, 3.0), (2.0, 9.0))
    ]
    trials += [
        trained("ondare", dose=d, trial_id=f"o-x{d}", diagnostics={"travel": a, "residual": r})
        for d, (a, r) in walks.items()
    ]
    trials += [trained("ondare", dose=2.0, trial_id="o-x2", state="diverged")]
    specs = plan_posthoc(built(compare), trials).specs
    shifts = [specs[f"a-x{d}"][-1].point["weight"] for d in (0.5, 1.0, 2.0)]
    assert shifts == pytest.approx([0.04, 0.05, 0.06])
    assert [specs[f"a-x{d}"][-1].dose for d in (0.5, 1.0, 2.0)] == [0.5, 1.0, 2.0]


def test_what_has_no_policy_gives_no_points_and_is_counted(compare: dict[str, Any]) -> None:
    walked = {"travel": 0.07, "residual": 2.0}
    trials = [
        *(
            trained("adamw", diagnostics=walked),
            trained("ondare", state="diverged", diagnostics=walked),
            trained("mine"),
        ),
        *(trained("adamw", block=1, state="failed"), trained("ondare", block=1, diagnostics=walked)),
        trained("adamw", block=2),  # its block's ondare never ended
    ]
    plan = plan_posthoc(built(compare), trials)
    assert {parent: len(specs) for parent, specs in plan.specs.items()} == {
        "b0-adamw": 3,
        "b0-mine": 6,
        "b1-ondare": 2,
        "b2-adamw": 3,
    }
    assert plan.left_out == 1 + 2 + 4 + 1


def test_a_point_by_part_of_the_model_survives_its_record() -> None:
    point = PosthocPoint(method="layerwise", weight={"input": 0.2, "*": 0.5})
    assert recorded_point(point.as_data()) == point
    sparse = PosthocPoint(method="dare", weight=0.5, density=0.3, seed=4)
    assert recorded_point(sparse.as_data() | {"travel_of": "x"}) == sparse
