"""What a resolved space asks: arms, controls, pairs, and what is missing."""

import pytest

from omsweep.results.comparison.points import Arm
from omsweep.results.comparison.question import question_of

DARE = {"semantics": "equations", "tau_travel": 0.1, "density": 0.5}
TIES = {"semantics": "equations", "alpha": 1e-3, "density": 0.5}


def space(method, *, shared=None, **changes):
    return {
        "mode": "compare",
        "space": {"algorithm": "dpo", "method": method, **(shared or {})},
        "design": {"blocks": 5, "seeds": 1, "sft_seeds": 3, "match": "share"},
        "objectives": {"tax_limit": 4.0},
        "posthoc": {"interpolate": {"method": "linear", "weights": [0.5]}},
        "evaluate": {"report_split": "all"},
    } | changes


def controls(method, **more):
    return [(c.online, c.label, c.what) for c in question_of(space(method, **more)).controls]


@pytest.mark.parametrize(
    "changes", [{"objectives": {}}, {"objectives": {"tax_limit": None}}, {"mode": "search"}, {"objectives": None}]
)
def test_nothing_is_asked_without_a_limit_or_equal_draws(changes):
    assert question_of(space({"adamw": {}, "ondare": DARE}, **changes)) is None


def test_the_whole_question():
    asked = question_of(space({"adamw": {}, "ondare": DARE, "onties": TIES}))
    assert (asked.tax_limit, asked.baseline, asked.online, asked.controls) == (4.0, "adamw", ("ondare", "onties"), ())
    assert (asked.sft_seeds, asked.runs, asked.both_splits, asked.missing) == (3, 5, True, ())
    a, b = Arm("adamw"), Arm("adamw", merged=True)
    both = [(Arm(c), Arm(c, merged=True)) for c in asked.online]
    assert asked.headline(asked.merged) == [pair for c, d in both for pair in ((c, a), (c, b), (d, b))]


def test_a_branch_may_have_a_label_of_its_own():
    asked = question_of(space({"plain": {"method": "adamw"}, "mine": {"method": "ondare", **DARE}, "ema": {}}))
    assert (asked.baseline, asked.online) == ("plain", ("mine",))


def test_controls_are_what_differs_in_tau_alone():
    other = DARE | {"density": 0.9}
    method = {
        "adamw": {},
        "ondare": DARE,
        "dense": {"method": "ondare", **other},
        "shuffled": {"method": "ondare", **DARE, "task_vector": "permuted"},
        "backwards": {"method": "ondare", **other, "task_vector": "flipped"},
        "masked": {"method": "ondare", "semantics": "equations", "alpha": 0.0, "density": 0.5},
        "onties": TIES,
        "none": {"method": "onties", **TIES, "alpha": 0},
    }
    assert controls(method) == [
        ("ondare", "shuffled/permuted", "permuted"),
        ("ondare", "masked", "alpha 0"),
        ("dense", "backwards/flipped", "flipped"),
        ("onties", "none", "alpha 0"),
    ]


def test_a_control_unlike_any_is_one_of_all_online_branches_of_its_method():
    method = {
        "one": {"method": "ondare", **DARE},
        "two": {"method": "ondare", **DARE, "density": 0.2},
        "shuffled": {"method": "ondare", **DARE, "density": 0.7, "task_vector": "permuted"},
    }
    assert [online for online, _, _ in controls(method)] == ["one", "two"]


def test_another_match_makes_a_control_not_an_arm():
    branches = {"adamw": {}, "ondare": DARE, "loose": {"method": "ondare", **DARE, "match": "none"}}
    asked = question_of(space(branches))
    assert (asked.baseline, asked.online) == ("adamw", ("ondare",))
    assert controls(branches) == [("ondare", "loose", "match none")]
    assert controls(branches | {"adamw": {"match": None}}) == [("ondare", "loose", "match none")]
    assert question_of(space(branches | {"adamw": {"match": None}})).baseline == "adamw"
    loose = {"match": "none"}
    assert controls(branches, design=loose) == []  # both are as the design says
    tight = branches | {"loose": {"method": "ondare", **DARE, "match": "share"}}
    assert controls(tight, design=loose) == [("ondare", "loose", "match share")]
    assert question_of(space(tight, design={"match": "displacement"})) == question_of(
        space(tight, design={"match": "share"})
    )


def test_childtuning_is_ondare_without_tau():
    method = {"ondare": DARE, "onties": TIES, "childtuning": {"density": 0.5, "semantics": "equations"}}
    assert controls(method) == [("ondare", "childtuning", "alpha 0")]


def test_a_shared_draw_of_task_vectors_gives_arms_of_every_kind():
    asked = question_of(space({"adamw": {}, "ondare": DARE}, shared={"task_vector": {"choice": ["real", "permuted"]}}))
    assert asked.labels == ("adamw", "ondare", "ondare/permuted")
    assert "ondare/permuted" in asked.merged
    assert question_of(space({"adamw": {}, "ondare": DARE}, shared={"task_vector": "permuted"})).online == ()


def test_controls_are_compared_grid_by_grid_where_both_have_one():
    method = {"adamw": {}, "ondare": DARE, "shuffled": {"method": "ondare", **DARE, "task_vector": "permuted"}}
    asked = question_of(space(method))
    names = [(arm.name, against.name) for arm, against in asked.control_pairs(asked.merged)]
    assert names == [("ondare + offline", "shuffled/permuted + offline")]
    assert [(a.name, b.name) for a, b in asked.control_pairs({"ondare"})] == [("ondare", "shuffled/permuted")]


MISSING = [
    ({"method": {"ondare": DARE}}, "arms (a) and (b): space.method has no branch of adamw"),
    (
        {"method": {"x": {"method": "adamw"}, "y": {"method": "adamw"}, "ondare": DARE}},
        "arms (a) and (b): none of x, y is labelled adamw",
    ),
    ({"method": {"adamw": {}, "ema": {}}}, "arms (c) and (d): no branch merges the real task vector"),
    ({"posthoc": {}}, "arm (b): posthoc makes no offline merge of adamw"),
    ({"posthoc": {"x": {"method": "linear", "of": ["adamw"]}}}, "arm (d): posthoc makes no offline merge of ondare"),
    ({"evaluate": {}}, "everything: policies must be scored on both splits (evaluate.report_split: all)"),
    ({"design": {"blocks": 1}}, "verdicts and intervals: one run of each branch in a family"),
    ({"design": {"blocks": 5}}, "other SFT models: with one SFT seed"),
    ({"design": {"blocks": 5, "sft_seeds": 2, "match": "none"}}, "matched learning rates: design.match is none"),
    ({"design": {"blocks": 5, "sft_seeds": 2, "cross": ["beta"]}}, "arms: design.cross turns branches into levels"),
]


@pytest.mark.parametrize(("changes", "reason"), MISSING, ids=[reason.split(":")[0] for _, reason in MISSING])
def test_what_is_missing_is_said(changes, reason):
    method = changes.pop("method", {"adamw": {}, "ondare": DARE})
    asked = question_of(space(method, **changes))
    assert any(said.startswith(reason) for said in asked.missing), asked.missing


def test_without_merges_only_the_runs_are_compared():
    asked = question_of(space({"adamw": {}, "ondare": DARE}, posthoc={}))
    assert asked.headline(asked.merged) == [(Arm("ondare"), Arm("adamw"))]
    assert question_of(space({"ondare": DARE})).headline({"ondare"}) == []


def test_grids_count_the_merges_of_a_run():
    method = {"adamw": {}, "ondare": DARE | {"task_vector": {"choice": ["real", "permuted"]}}}
    posthoc = {
        "ties": {"method": "ties", "weights": [0.3, 0.7], "densities": [0.2, 0.5], "seeds": [0, 1, 2], "of": ["adamw"]},
        "shift": {"method": "tau_shift", "travel_of": "ondare"},
    }
    ties, shift = question_of(space(method, posthoc=posthoc)).grids
    assert (ties.points, ties.travel_of, ties.arms) == (12, None, {"adamw"})
    assert (shift.points, shift.travel_of, shift.arms) == (0, "ondare", {"adamw", "ondare", "ondare/permuted"})


def test_a_limit_may_be_a_familys_own():
    asked = question_of(space({"adamw": {}}, objectives={"tax_limit": {"one": 10.0, "two": 3}}))
    assert (asked.limit_of("one"), asked.limit_of("two")) == (10.0, 3.0)
    assert asked.limit_text(["one", "two"]) == "10 (one), 3 (two)"
    assert asked.limit_text(["two"]) == question_of(space({"adamw": {}}, objectives={"tax_limit": 3.0})).limit_text(
        "ab"
    )
