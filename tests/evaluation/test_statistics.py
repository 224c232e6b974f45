import math

import numpy as np
import pandas as pd
import pytest

from omsweep.evaluation.statistics import reward_and_tax
from omsweep.store.records import TRIAL_FIELDS


def tax_rows(scores):
    """Rows from {category: {task: [score of item 0, 1, ...]}}."""
    return [
        {"kind": "tax", "task": task, "category": category, "item_id": f"{task}-{number}", "split": "search"}
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
        | {"decoder": decoder, "sample": sample, "score": score, "completion": ""}
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
    assert result["tax_regressed"] == pytest.approx(37.5 / 2)
    assert result["tax_worst"] == pytest.approx(37.5)
    assert result["scores"] == {"math": pytest.approx(0.25), "code": pytest.approx(0.75)}
    assert result["benchmark_average"] == pytest.approx(50.0)
    assert result["flip_rate"] == pytest.approx(2 / 10)
    # Paired differences r - p: sums 0 1 0 0 (variance 1/4), words 1 0 (1/2), close 0 0 -1 0 (1/4).
    variance = (1 / 4) ** 2 * (0.25 / 4 + 0.5 / 2) + (1 / 2) ** 2 * 0.25 / 4
    assert result["tax_se_items"] == pytest.approx(100 * math.sqrt(variance))


def test_a_policy_that_is_the_reference_has_no_reward_and_no_tax():
    result = reward_and_tax(REFERENCE, REFERENCE)
    zeros = ("reward", "reward_se_items", "tax", "tax_se_items", "tax_regressed", "tax_worst", "flip_rate")
    assert {name: result[name] for name in zeros} == dict.fromkeys(zeros, 0.0)
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
    assert back["tax_worst"] == pytest.approx(25.0)


def test_losses_everywhere_but_one_category_do_not_hide():
    worse = POLICY.assign(score=POLICY["score"].where(POLICY["category"] != "code", 1.0))
    assert reward_and_tax(worse, REFERENCE)["tax"] == pytest.approx((37.5 - 50) / 2)
    assert reward_and_tax(worse, REFERENCE)["tax_regressed"] == pytest.approx(37.5 / 2)


def test_all_categories_better_gives_a_negative_worst():
    better = POLICY.assign(score=1.0)
    result = reward_and_tax(better, REFERENCE)
    assert result["tax_worst"] == pytest.approx(-37.5)
    assert result["tax_regressed"] == 0.0


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
