import math

import numpy as np
import pandas as pd
import pytest

from omsweep.evaluation.cross_fitted import regressed, worst
from omsweep.evaluation.statistics import NOISE_GROUPS, reward_and_tax, rung_noise
from omsweep.store.records import TRIAL_FIELDS


def tax_rows(scores, passage=None):
    """Rows from {category: {task: [score of item 0, 1, ...]}}; `passage` items each on one passage."""
    return [
        {"kind": "tax", "task": task, "category": category, "item_id": f"{task}-{number}", "split": "search"}
        | {"cluster": f"{task}-{number if passage is None else number // passage}"}
        | {"decoder": "greedy", "sample": 0, "score": score, "length": math.nan, "kl": math.nan, "kl_sampled": math.nan}
        | {"completion": ""}
        for category, tasks in scores.items()
        for task, values in tasks.items()
        for number, score in enumerate(values)
    ]


def reward_rows(decoder, scores, lengths=None, kls=None):
    """Rows from [[score of sample 0, 1, ...] of prompt 0, ...]."""
    return [
        {"kind": "reward", "task": "tiny", "category": "reward", "item_id": f"p{prompt}", "split": "search"}
        | {"cluster": f"p{prompt}", "decoder": decoder, "sample": sample, "score": score, "completion": ""}
        | {"length": lengths[prompt][sample] if lengths else 1.0, "kl": kls[prompt][sample] if kls else math.nan}
        | {"kl_sampled": 2 * kls[prompt][sample] if kls else math.nan}
        for prompt, values in enumerate(scores)
        for sample, score in enumerate(values)
    ]


REFERENCE = pd.DataFrame(
    tax_rows({"math": {"sums": [1, 1, 1, 0], "words": [1, 0]}, "code": {"close": [1, 1, 0, 0]}})
    + reward_rows("sampled", [[1.0, 0.0], [2.0, 2.0], [0.0, 1.0]], lengths=[[2, 2], [4, 4], [3, 3]])
    + reward_rows("greedy", [[1.0], [1.0], [1.0]])
)
POLICY = pd.DataFrame(
    tax_rows({"math": {"sums": [1, 0, 1, 0], "words": [0, 0]}, "code": {"close": [1, 1, 1, 0]}})
    + reward_rows(
        "sampled",
        [[2.0, 1.0], [2.0, 3.0], [2.5, 2.5]],
        lengths=[[4, 4], [6, 6], [8, 8]],
        kls=[[1.0, 2.0], [0.5, -0.5], [3.0, 3.0]],
    )
    + reward_rows("greedy", [[1.0], [2.0], [3.0]])
)


def test_rewards_by_hand():
    result = reward_and_tax(POLICY, REFERENCE)
    # Mean scores of the prompts: policy 1.5, 2.5, 2.5; reference 0.5, 2, 0.5; gains 1, 0.5, 2.
    assert result["reward"] == pytest.approx(3.5 / 3)
    deviations = np.array([1, 0.5, 2]) - 3.5 / 3
    assert result["reward_se_items"] == pytest.approx(math.sqrt((deviations**2).sum() / 2) / math.sqrt(3))
    assert result["rewards"] == {"greedy": pytest.approx(1.0), "sampled": pytest.approx(3.5 / 3)}
    assert result["reward_absolute"] == pytest.approx(6.5 / 3)
    assert result["kl"] == pytest.approx((1.5 + 0 + 3) / 3)
    assert result["kl_sampled"] == pytest.approx(2 * result["kl"])
    assert result["length_ratio"] == pytest.approx(6 / 3)


def test_taxes_by_hand():
    result = reward_and_tax(POLICY, REFERENCE)
    # math: reference (3/4 + 1/2) / 2, policy (2/4 + 0) / 2, loss 37.5 points; code: 2/4 to 3/4, loss -25 points.
    assert result["tax"] == pytest.approx((37.5 - 25) / 2)
    assert result["scores"] == {"math": pytest.approx(0.25), "code": pytest.approx(0.75)}
    assert result["benchmark_average"] == pytest.approx(50.0)
    assert result["flip_rate"] == pytest.approx(2 / 10)
    # Paired differences r - p: sums 0 1 0 0 (variance 1/4), words 1 0 (1/2), close 0 0 -1 0 (1/4).
    math_variance, code_variance = (1 / 2) ** 2 * (0.25 / 4 + 0.5 / 2), 0.25 / 4
    assert result["tax_se_items"] == pytest.approx(100 * math.sqrt((math_variance + code_variance) / 4))
    errors = [100 * math.sqrt(code_variance), 100 * math.sqrt(math_variance)]
    for measure, name in ((regressed, "tax_regressed"), (worst, "tax_worst")):
        assert (result[name], result[f"{name}_se_items"]) == pytest.approx(measure([-25.0, 37.5], errors))


def test_a_policy_that_is_the_reference_has_no_reward_and_no_tax():
    result = reward_and_tax(REFERENCE, REFERENCE)
    zeros = ("reward", "reward_se_items", "tax", "tax_se_items", "flip_rate")
    assert {name: result[name] for name in zeros} == dict.fromkeys(zeros, 0.0)
    corrected = ("tax_regressed", "tax_regressed_se_items", "tax_worst", "tax_worst_se_items")
    assert [result[name] for name in corrected] == pytest.approx([0.0] * 4, abs=1e-6)
    assert result["rewards"] == {"greedy": 0.0, "sampled": 0.0}
    assert result["length_ratio"] == 1.0
    assert result["kl"] is None


def test_every_field_is_one_of_a_trial_object():
    assert set(reward_and_tax(POLICY, REFERENCE)) <= set(TRIAL_FIELDS)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_rows_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    shuffled = [frame.iloc[rng.permutation(len(frame))] for frame in (POLICY, REFERENCE)]
    expected = reward_and_tax(POLICY, REFERENCE)
    result = reward_and_tax(*shuffled)
    assert result.pop("scores") == pytest.approx(expected["scores"])
    assert result.pop("rewards") == pytest.approx(expected["rewards"])
    assert result == pytest.approx({name: value for name, value in expected.items() if name in result})


def test_swapping_the_two_turns_gains_into_losses():
    forth, back = reward_and_tax(POLICY, REFERENCE), reward_and_tax(REFERENCE, POLICY)
    assert back["reward"] == pytest.approx(-forth["reward"])
    assert back["tax"] == pytest.approx(-forth["tax"])
    assert back["tax_se_items"] == pytest.approx(forth["tax_se_items"])


def large(*chances, count=400):
    """A suite of one task in each category, with that share of items right."""
    return pd.DataFrame(
        tax_rows({f"c{n}": {f"t{n}": [1.0] * round(p * count) + [0.0] * round((1 - p) * count)}
                  for n, p in enumerate(chances)})
    )  # fmt: skip


def test_clear_losses_are_read_as_they_are():
    result = reward_and_tax(large(0.5, 0.8, 0.9), large(0.9, 0.9, 0.5))
    assert result["tax"] == pytest.approx((40 + 10 - 40) / 3)
    assert result["tax_regressed"] == pytest.approx(50 / 3, abs=0.01)
    assert result["tax_worst"] == pytest.approx(40, abs=0.01)


def test_all_categories_better_gives_a_negative_worst():
    result = reward_and_tax(large(0.9, 0.8), large(0.5, 0.7))
    assert result["tax_worst"] == pytest.approx(-10, abs=0.01)
    assert result["tax_regressed"] == pytest.approx(0.0, abs=0.01)


SEVEN_SKILLS = pd.DataFrame(tax_rows({f"c{n}": {f"t{n}": [0.0] * 250} for n in range(7)}))
PASSAGES = pd.DataFrame(tax_rows({"reading": {"reading": [0.0] * 480}}, passage=8))


def redrawn(rng, share=0.1):
    """Tables of a policy that only redraws `share` of its answers and of the SFT model."""
    known = rng.uniform(0.5, 0.9, (7, 1))
    before, again = rng.random((2, 7, 250)) < known
    after = np.where(rng.random((7, 250)) < share, again, before)
    return [SEVEN_SKILLS.assign(score=right.ravel() * 1.0) for right in (after, before)]


def test_redrawing_answers_is_no_loss():
    """Uncorrected, the two means are 0.5 and 1.7 points."""
    rng = np.random.default_rng(3)
    found = [reward_and_tax(*redrawn(rng)) for _ in range(200)]
    for name in ("tax", "tax_regressed", "tax_worst"):
        values = np.array([result[name] for result in found])
        claimed = np.mean([result[f"{name}_se_items"] for result in found])
        assert abs(values.mean()) < 2.5 * values.std() / math.sqrt(len(values))
        assert claimed == pytest.approx(values.std(), rel=0.15)
    assert np.mean([result["flip_rate"] for result in found]) > 0.01


def passages(rng):
    """Tables of two models that know some passages better than others: an answer tells of its neighbours'."""
    known = rng.normal(0.57, 0.15, (2, 60, 1)).clip(0, 1)
    return [PASSAGES.assign(score=right.ravel() * 1.0) for right in rng.random((2, 60, 8)) < known]


def test_questions_on_one_passage_count_as_one():
    """60 passages with 8 questions: by item the error bars are 3.2 points, the truth is 4.1."""
    rng = np.random.default_rng(0)
    found = [reward_and_tax(*passages(rng)) for _ in range(150)]
    taxes, claimed = (np.array([result[name] for result in found]) for name in ("tax", "tax_se_items"))
    assert np.mean(claimed) == pytest.approx(taxes.std(), rel=0.1)
    assert np.mean(np.abs(taxes) < 1.645 * claimed) == pytest.approx(0.9, abs=0.05)


def test_prompts_of_one_dialogue_count_as_one():
    gains = [[1.0], [1.0], [0.0], [0.0]]
    frames = [pd.DataFrame(reward_rows("sampled", scores)) for scores in (gains, [[0.0]] * 4)]
    alone = reward_and_tax(*frames)["reward_se_items"]
    paired = reward_and_tax(*(frame.assign(cluster=["a", "a", "b", "b"]) for frame in frames))["reward_se_items"]
    assert alone == pytest.approx(math.sqrt(1 / 12))
    assert paired == pytest.approx(0.5)


def test_a_passage_that_two_tasks_ask_about_is_one_cluster():
    rows = {"reading": {"who": [1, 0, 1, 0], "where": [1, 0, 1, 0]}}
    frame = pd.DataFrame(tax_rows(rows)).assign(cluster=["a", "b", "c", "d"] * 2)
    worse = frame.assign(score=[0.0] * 8)
    joint = reward_and_tax(worse, frame)["tax_se_items"]
    apart = reward_and_tax(*(f.assign(cluster=list("abcdefgh")) for f in (worse, frame)))["tax_se_items"]
    assert joint == pytest.approx(apart * math.sqrt(2))


def test_a_task_with_one_cluster_has_no_error_bar_and_no_corrected_tax():
    two, one = {"a": [1, 0, 1, 0]}, {"b": [1, 0]}
    frame = pd.DataFrame(tax_rows({"x": two, "y": one})).assign(cluster=["1", "2", "3", "4", "5", "5"])
    result = reward_and_tax(frame.assign(score=0.0), frame)
    assert result["tax"] == pytest.approx(50.0)
    missing = ("tax_se_items", "tax_regressed", "tax_regressed_se_items", "tax_worst", "tax_worst_se_items")
    assert [result[name] for name in missing] == [None] * 5


def test_standard_errors_shrink_like_the_root_of_items():
    rng = np.random.default_rng(0)

    def spread(count):
        before = tax_rows({"math": {"sums": rng.integers(0, 2, count).tolist()}})
        after = tax_rows({"math": {"sums": rng.integers(0, 2, count).tolist()}})
        return reward_and_tax(pd.DataFrame(after), pd.DataFrame(before))["tax_se_items"]

    assert spread(100) / spread(10_000) == pytest.approx(10, rel=0.15)
    assert spread(10_000) == pytest.approx(100 * math.sqrt(0.5 / 10_000), rel=0.05)


def test_standard_error_squared_is_the_variance_on_average():
    """Right with chance 0.8 before and 0.7 after: the variance of the tax is known in closed form."""
    sizes = {"math": {"sums": 40, "words": 10}, "code": {"close": 25}}
    rng = np.random.default_rng(1)

    def draw(chance):
        return pd.DataFrame(
            tax_rows({c: {t: (rng.random(n) < chance) * 1.0 for t, n in tasks.items()} for c, tasks in sizes.items()})
        )

    claims = [reward_and_tax(draw(0.7), draw(0.8))["tax_se_items"] ** 2 for _ in range(16)]
    of_an_item = 0.7 * 0.3 + 0.8 * 0.2
    exact = 100**2 * of_an_item * ((1 / 4) ** 2 * (1 / 40 + 1 / 10) + (1 / 2) ** 2 / 25)
    assert np.mean(claims) == pytest.approx(exact, rel=0.15)


def test_what_the_tables_cannot_tell_is_none():
    only_tax = reward_and_tax(pd.DataFrame(tax_rows({"a": {"b": [1]}})), pd.DataFrame(tax_rows({"a": {"b": [1]}})))
    assert only_tax["tax"] == 0.0
    assert only_tax["tax_se_items"] is None
    assert only_tax["reward"] is None
    assert only_tax["rewards"] == {"greedy": None, "sampled": None}
    only_reward = reward_and_tax(*[frame[frame["kind"] == "reward"] for frame in (POLICY, REFERENCE)])
    assert (only_reward["tax"], only_reward["tax_worst"], only_reward["flip_rate"]) == (None, None, None)
    assert only_reward["scores"] == {}
    assert only_reward["reward"] == pytest.approx(3.5 / 3)


def test_a_score_that_is_not_a_number_is_not_averaged_away():
    broken = POLICY.copy()
    broken.loc[(broken["kind"] == "reward") & (broken["decoder"] == "sampled"), "score"] = math.nan
    assert reward_and_tax(broken, REFERENCE)["reward"] is None


@pytest.mark.parametrize("swapped", [False, True])
def test_different_items_are_named_up_to_five(swapped):
    fewer = REFERENCE[~REFERENCE["task"].isin(["sums", "close"])]
    pair = (fewer, POLICY) if swapped else (POLICY, fewer)
    with pytest.raises(ValueError, match="8 items are missing from the") as caught:
        reward_and_tax(*pair)
    assert ("policy" if swapped else "reference") in str(caught.value)
    assert str(caught.value).count("search") == 5


def test_another_split_is_another_item():
    with pytest.raises(ValueError, match="missing from the reference"):
        reward_and_tax(POLICY, REFERENCE.assign(split="report"))


def test_noise_of_rungs_gives_the_error_of_a_score_and_of_the_difference_of_two():
    other = POLICY.assign(score=POLICY["score"].sample(frac=1, random_state=0).to_numpy())
    ours, theirs = (rung_noise(policy, REFERENCE) for policy in (POLICY, other))
    for name in ("reward", "tax"):
        first, second = (np.array(noise[f"{name}_noise"]) for noise in (ours, theirs))
        assert np.linalg.norm(first) == pytest.approx(reward_and_tax(POLICY, REFERENCE)[f"{name}_se_items"], rel=1e-5)
        paired = reward_and_tax(POLICY, other)[f"{name}_se_items"]
        assert np.linalg.norm(first - second) == pytest.approx(paired, rel=1e-5)


def test_noise_of_many_items_is_kept_in_groups():
    reward = pd.DataFrame(reward_rows("sampled", [[1.0]] * 2))
    reference, policy = (pd.concat([large(*chances), reward]) for chances in ((0.9, 0.8), (0.7, 0.8)))
    noise = rung_noise(policy, reference)["tax_noise"]
    assert len(noise) == NOISE_GROUPS
    assert np.linalg.norm(noise) == pytest.approx(reward_and_tax(policy, reference)["tax_se_items"], rel=0.5)
