"""front.json's content: which trials count, whose front they are on, seeds, the report split."""

import json
import math

import pytest

from omsweep.pareto import front, hypervolume
from omsweep.results.front import EXPLORATORY, front_summary, parent_label
from omsweep.results.objectives import Objectives
from omsweep.space.schema import Bound

OBJECTIVES = Objectives()


def test_a_front_by_hand(make_trial):
    trials = [
        make_trial("a", reward=0.5, tax=1.0),
        make_trial("b", reward=1.0, tax=4.0),
        make_trial("c", reward=0.4, tax=2.0),
        make_trial("d", reward=0.9, tax=1.0, family="tiny-qwen2"),
    ]
    summary = front_summary(trials, OBJECTIVES, mode="compare")
    assert summary["families"]["tiny-llama"]["members"] == ["a", "b"]
    assert summary["families"]["tiny-llama"]["hypervolume"] == pytest.approx(19 * 0.5 + 16 * 0.5)
    assert summary["families"]["tiny-qwen2"]["hypervolume"] == pytest.approx(19 * 0.9)
    assert summary["hypervolume"] == pytest.approx((17.5 + 17.1) / 2)
    assert [(member["family"], member["trial_id"]) for member in summary["members"]] == [
        ("tiny-llama", "a"),
        ("tiny-llama", "b"),
        ("tiny-qwen2", "d"),
    ]
    assert summary["reference_point"] == {"reward": 0.0, "tax": 20.0}
    assert summary["split"] == "search"


def test_the_whole_demo_agrees_with_the_pareto_package(demo):
    trials = demo.trials()
    summary = front_summary(trials, OBJECTIVES, mode="compare")
    for family, content in summary["families"].items():
        mine = [trial for trial in trials if trial.family == family and trial.reward is not None]
        losses = OBJECTIVES.losses(mine)
        with_sft_model = front([*losses, [0.0, 0.0]])
        expected = {trial.trial_id for trial, on in zip(mine, with_sft_model, strict=False) if on}
        assert set(content["members"]) == expected
        assert content["hypervolume"] == hypervolume(losses, [20.0, 0.0])
        assert set(content["front_probability"]) == {trial.trial_id for trial in mine}
        for label, entry in content["labels"].items():
            of_label = OBJECTIVES.losses(t for t in mine if t.label == label)
            assert entry["hypervolume"] == hypervolume(of_label, [20.0, 0.0])
            assert entry["hypervolume"] <= content["hypervolume"]


@pytest.mark.parametrize(
    ("state", "changes", "counts"),
    [
        ("completed", {}, True),
        ("stopped", {}, False),
        ("diverged", {}, False),
        ("failed", {}, False),
        ("completed", {"tax": None}, False),
        ("completed", {"reward": float("nan")}, False),
        ("completed", {"tax": float("inf")}, False),
    ],
)
def test_only_ended_trials_with_both_numbers_count(make_trial, state, changes, counts):
    best = make_trial("best", state=state, **({"reward": 9.0, "tax": -9.0} | changes))
    summary = front_summary([make_trial("plain"), best], OBJECTIVES)
    assert summary["families"]["tiny-llama"]["members"] == (["best"] if counts else ["plain"])
    assert summary["scored"] == 1 + counts


def test_the_report_split_changes_no_membership(make_trial):
    trials = [make_trial("a", reward=0.5, tax=1.0), make_trial("b", reward=0.4, tax=2.0)]
    report_scores = {
        "a": {"reward": -1.0, "reward_se_items": 0.1, "tax": 30.0, "tax_se_items": 1.0},
        "b": {"reward": 9.0, "tax": -9.0},
    }
    summary = front_summary(trials, OBJECTIVES, report_scores=report_scores)
    (member,) = summary["members"]
    assert member["trial_id"] == "a"
    assert (member["reward_report"], member["tax_report"]) == (-1.0, 30.0)
    assert (member["reward_report_se_items"], member["tax_report_se_items"]) == (0.1, 1.0)
    assert (member["reward"], member["tax"]) == (0.5, 1.0)
    without = front_summary(trials, OBJECTIVES)
    assert without["members"][0]["reward_report"] is None
    assert without["hypervolume"] == summary["hypervolume"]


def test_a_member_outside_of_a_constraint_is_marked(make_trial):
    trials = [make_trial("a", reward=0.5, tax=1.0, kl=3.0), make_trial("b", reward=1.0, tax=4.0, kl=30.0)]
    summary = front_summary(trials, OBJECTIVES, constraints={"kl": Bound(at_most=20)})
    assert {member["trial_id"]: member["outside"] for member in summary["members"]} == {"a": [], "b": ["kl at most 20"]}
    assert [member["outside"] for member in front_summary(trials, OBJECTIVES)["members"]] == [[], []]
    trials[0] = make_trial("a", reward=0.5, tax=1.0, kl=None)
    bounds = {"kl": Bound(at_most=20), "reward": Bound(at_least=0.7)}
    (first, _) = front_summary(trials, OBJECTIVES, constraints=bounds)["members"]
    assert first["outside"] == ["kl not known", "reward at least 0.7"]


def test_hypervolume_per_label_only_in_compare_mode(make_trial):
    trials = [make_trial("a")]
    labels = {
        mode: front_summary(trials, OBJECTIVES, mode=mode)["families"]["tiny-llama"]["labels"]
        for mode in ("compare", "search")
    }
    assert labels["compare"]["adamw"]["hypervolume"] == pytest.approx(19 * 0.5)
    assert labels["search"]["adamw"]["hypervolume"] is None


@pytest.mark.parametrize("tax", ["tax_regressed", "tax_worst"])
def test_any_tax_can_be_the_objective(make_trial, tax):
    trials = [
        make_trial("a", reward=0.5, tax=0.0, **{tax: 0.3}),
        make_trial("b", reward=0.4, tax=9.0, **{tax: 0.1}),
        make_trial("c", reward=0.3, tax=-5.0, **{tax: 0.2}),
    ]
    summary = front_summary(trials, Objectives.from_settings({"tax": tax, "reference_point": {"reward": 0, "tax": 1}}))
    assert summary["families"]["tiny-llama"]["members"] == ["b", "a"]
    assert summary["objectives"] == {"reward": "reward", "tax": tax}
    assert summary["hypervolume"] == pytest.approx(0.9 * 0.4 + 0.7 * 0.1)


def test_one_seed_is_exploratory_and_has_no_spread(demo):
    summary = front_summary(demo.trials(), OBJECTIVES)
    assert (summary["seeds"], summary["exploratory"], summary["note"]) == (1, True, EXPLORATORY)
    assert summary["families"]["tiny-llama"]["labels"]["adamw"]["reward_sd_seeds"] is None


def test_seeds_of_one_setting_give_a_pooled_spread(make_trial):
    def settings(block):
        return {"learning_rate": 1e-4 * (block + 1), "seed": 99 + block, "trial_id": str(block)}

    trials = [
        make_trial(
            f"{block}-{seed}", block=block, seed=10 * block + seed, reward=reward, tax=0.0, params=settings(block)
        )
        for block, rewards in enumerate([(0.1, 0.3), (1.0, 1.0, 1.6)])
        for seed, reward in enumerate(rewards)
    ]
    summary = front_summary(trials, OBJECTIVES)
    assert (summary["seeds"], summary["exploratory"], summary["note"]) == (2, False, None)
    label = summary["families"]["tiny-llama"]["labels"]["adamw"]
    assert label["reward_sd_seeds"] == pytest.approx(math.sqrt((0.02 + 0.24) / 3))
    assert label["tax_sd_seeds"] == 0.0


def test_a_repeated_seed_is_no_second_seed(make_trial):
    summary = front_summary([make_trial("a"), make_trial("again")], OBJECTIVES)
    assert summary["seeds"] == 1
    assert summary["families"]["tiny-llama"]["labels"]["adamw"]["reward_sd_seeds"] is None


def test_blocks_with_other_knobs_are_no_seeds(make_trial):
    trials = [
        make_trial("a", seed=0, params={"learning_rate": 1e-4}),
        make_trial("b", seed=1, params={"learning_rate": 2e-4}),
    ]
    assert front_summary(trials, OBJECTIVES)["exploratory"]


def test_probabilities_of_the_front_are_given_for_every_scored_trial(make_trial):
    noise = {"reward_se_items": 0.01, "tax_se_items": 0.01}
    trials = [
        make_trial("sure", reward=1.0, tax=0.0, **noise),
        make_trial("close", reward=0.999, tax=0.001, **noise),
        make_trial("far", reward=0.1, tax=5.0, **noise),
    ]
    chances = front_summary(trials, OBJECTIVES)["families"]["tiny-llama"]["front_probability"]
    assert chances["far"] == 0.0
    assert 0.5 < chances["close"] < chances["sure"] < 0.95


def merged(make_trial, trial_id, parent, *, posthoc, **changes):
    return make_trial(
        trial_id,
        kind="posthoc",
        parent=parent.trial_id,
        label="adamw+line",
        method=posthoc["method"],
        seed=parent.seed,
        params={**parent.params, "posthoc": posthoc},
        **changes,
    )


@pytest.mark.parametrize(
    ("grids", "seeds"),
    [
        (({"method": "linear", "weight": 0.5}, {"method": "linear", "weight": 0.5}), 2),
        (({"method": "linear", "weight": 0.5}, {"method": "linear", "weight": 0.6}), 1),
        (
            (
                {"method": "tau_shift", "weight": 0.051, "travel_of": "ondare"},
                {"method": "tau_shift", "weight": 0.049, "travel_of": "ondare"},
            ),
            2,
        ),
    ],
    ids=["one weight", "two weights", "what another trial walked"],
)
def test_merges_of_one_kind_of_two_seeds_parents_are_one_setting(make_trial, grids, seeds):
    parents = [make_trial(f"p{seed}", seed=seed, reward=0.5) for seed in (0, 1)]
    merges = [
        merged(make_trial, f"p{i}+line-0", parent, posthoc=grid, reward=0.3 + 0.2 * i)
        for i, (parent, grid) in enumerate(zip(parents, grids, strict=True))
    ]
    summary = front_summary([*parents, *merges], OBJECTIVES)
    assert (summary["seeds"], summary["exploratory"]) == (seeds, seeds == 1)
    spread = summary["families"]["tiny-llama"]["labels"]["adamw+line"]["reward_sd_seeds"]
    assert spread == (pytest.approx(math.sqrt(0.02)) if seeds == 2 else None)


def test_a_trials_own_numbers_on_the_report_split_need_no_rescoring(make_trial):
    trial = make_trial("a", reward_report=0.25, reward_report_se_items=0.05, tax_report=1.5, kl_report=2.0)
    (member,) = front_summary([trial], OBJECTIVES)["members"]
    names = ("reward_report", "reward_report_se_items", "tax_report", "kl_report")
    assert [member[name] for name in names] == [0.25, 0.05, 1.5, 2.0]


@pytest.mark.parametrize(
    ("label", "parent"),
    [("ondare", "ondare"), ("ondare+ties", "ondare"), ("ondare+ties/flipped", "ondare/flipped"), ("a/flipped",) * 2],
)
def test_the_label_a_merge_comes_from(label, parent):
    assert parent_label(label) == parent


def test_no_trials_give_an_empty_front():
    summary = front_summary([], OBJECTIVES)
    assert (summary["families"], summary["members"], summary["hypervolume"]) == ({}, [], None)
    assert summary["seeds"] == 0


def test_a_trial_that_the_sft_model_beats_is_on_no_front(make_trial):
    content = front_summary([make_trial("worse", reward=-0.6, tax=5.0)], OBJECTIVES)["families"]["tiny-llama"]
    assert (content["members"], content["hypervolume"]) == ([], 0.0)
    assert content["note"] == "the front is empty: no trial has more reward or less tax than the SFT model"
    assert content["front_probability"] == {"worse": 0.0}


@pytest.mark.parametrize(("reward", "tax"), [(-0.1, -1.0), (0.2, 25.0)])
def test_a_front_that_dominates_nothing_is_said_in_words(make_trial, reward, tax):
    content = front_summary([make_trial("a", reward=reward, tax=tax)], OBJECTIVES)["families"]["tiny-llama"]
    assert content["members"] == ["a"]
    said = "hypervolume 0: no trial has reward above 0 and tax below 20, the reference point"
    assert (content["hypervolume"], content["note"]) == (0.0, said)


def test_the_sft_model_counts_as_a_point_of_every_hypervolume(make_trial):
    objectives = Objectives(reference_reward=-1.0)
    trials = [make_trial("a", reward=0.5, tax=4.0), make_trial("b", reward=-0.5, tax=1.0, label="other")]
    content = front_summary(trials, objectives, mode="compare")["families"]["tiny-llama"]
    assert (content["members"], content["note"]) == (["a"], None)
    assert content["hypervolume"] == pytest.approx(20 * 1 + 16 * 0.5)
    assert content["labels"]["other"]["hypervolume"] == pytest.approx(20.0)


def test_a_family_without_scores_has_no_hypervolume_but_is_counted(make_trial):
    summary = front_summary([make_trial("a", state="failed", reward=None, tax=None)], OBJECTIVES)
    content = summary["families"]["tiny-llama"]
    assert (content["hypervolume"], content["members"], content["trials"]) == (0.0, [], {"failed": 1})


def test_the_summary_is_strict_json(demo):
    summary = front_summary(demo.trials(), OBJECTIVES, mode="compare")
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_a_label_stands_for_its_method(make_trial):
    released = make_trial("a", label="ondare-released", method="ondare", reward=0.5)
    plain = make_trial("b", reward=0.6).model_copy(update={"label": None, "method": "onties"})
    labels = front_summary([released, plain], OBJECTIVES)["families"]["tiny-llama"]["labels"]
    assert {label: entry["method"] for label, entry in labels.items()} == {
        "ondare-released": "ondare",
        "onties": "onties",
    }


def test_one_training_seed_under_several_sft_models_is_not_repeated(make_trial, make_space):
    trials = [make_trial(f"f{i}", sft_seed=i, reward=0.5 + i) for i in range(3)]
    summary = front_summary(trials, Objectives.from_settings(make_space()["objectives"]))
    assert (summary["seeds"], summary["exploratory"]) == (1, True)
    assert summary["families"]["tiny-llama"]["labels"]["adamw"]["reward_sd_seeds"] is None
    assert {member["sft_seed"] for member in summary["members"]} <= {0, 1, 2}
