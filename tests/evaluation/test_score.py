import dataclasses
import json
import os

import pandas as pd
import pytest

from omsweep.evaluation.score import COLUMNS, _scorer_recipe, reference_scores, score_policy
from omsweep.evaluation.settings import EvaluateSettings, RewardSettings
from omsweep.evaluation.statistics import reward_and_tax
from tests.evaluation.judges.stub_judge import StubJudge, serving


@pytest.fixture
def settings(suite_path, prompts_file):
    reward = RewardSettings(prompts=str(prompts_file))
    return EvaluateSettings(tax=str(suite_path), reward=reward, samples=2, max_new_tokens=6)


def test_one_table_of_both_kinds(llama, tokenizer, settings):
    scores = score_policy(llama, tokenizer, settings=settings, split="search", seed=0)
    assert tuple(scores.columns) == COLUMNS
    assert list(scores["kind"].unique()) == ["tax", "reward"]
    assert dict(scores.groupby(["kind", "decoder"]).size()) == {
        ("tax", "greedy"): len(scores) - 36,
        ("reward", "greedy"): 12,
        ("reward", "sampled"): 24,
    }
    assert scores.equals(score_policy(llama, tokenizer, settings=settings, split="search", seed=0))


def test_the_settings_reach_the_scores(llama, tokenizer, settings):
    limited = dataclasses.replace(settings, limit=1)
    scores = score_policy(llama, tokenizer, settings=limited, split="report", seed=0)
    assert dict(scores.groupby(["kind", "decoder"])["item_id"].nunique()) == {
        ("tax", "greedy"): 3,
        ("reward", "greedy"): 1,
        ("reward", "sampled"): 1,
    }
    assert set(scores["split"]) == {"report"}


def test_a_policy_against_its_reference(llama, make_llama, tokenizer, settings, tmp_path):
    other = make_llama(1)
    reference = reference_scores("other", lambda: (other, tokenizer), settings, "search", 0, root=tmp_path)
    policy = score_policy(llama, tokenizer, settings=settings, split="search", seed=0, reference_model=other)
    result = reward_and_tax(policy, reference)
    assert result["kl"] > 0
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    itself = reward_and_tax(score_policy(other, tokenizer, settings=settings, split="search", seed=0), reference)
    assert (itself["reward"], itself["tax"], itself["flip_rate"]) == (0.0, 0.0, 0.0)


def test_the_reference_is_scored_once_per_recipe(llama, tokenizer, settings, tmp_path):
    made = []

    def make_model():
        made.append(1)
        return llama, tokenizer

    def scores(key="a", settings=settings, split="search", seed=0):
        before = len(made)
        frame = reference_scores(key, make_model, settings, split, seed, root=tmp_path)
        return frame, len(made) - before

    first, built = scores()
    assert built == 1
    again, built = scores()
    assert built == 0
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_frame_equal(first, score_policy(llama, tokenizer, settings=settings, split="search", seed=0))
    for change in (
        {"key": "b"},
        {"split": "report"},
        {"seed": 1},
        {"settings": dataclasses.replace(settings, samples=3)},
        {"settings": dataclasses.replace(settings, temperature=0.9)},
        {"settings": dataclasses.replace(settings, max_new_tokens=5)},
        {"settings": dataclasses.replace(settings, limit=2)},
    ):
        assert scores(**change)[1] == 1, change


def test_changed_suite_or_prompts_are_scored_again(llama, tokenizer, settings, tmp_path):
    import shutil
    from pathlib import Path

    suite = shutil.copytree(settings.tax, tmp_path / "suite")
    prompts = Path(shutil.copy(settings.reward.prompts, tmp_path / "prompts.jsonl"))
    own = dataclasses.replace(settings, tax=str(suite), reward=RewardSettings(prompts=str(prompts)), limit=2)
    made = []

    def scores():
        def make_model():
            made.append(1)
            return llama, tokenizer

        return reference_scores("a", make_model, own, "search", 0, root=tmp_path)

    scores()
    (suite / "data" / "repeat.jsonl").write_text(
        (suite / "data" / "repeat.jsonl").read_text().replace('"answer": "one"', '"answer": "six"')
    )
    scores()
    prompts.write_text(prompts.read_text().replace("say one", "sum one"))
    scores()
    assert len(made) == 3


def test_a_reward_model_is_told_by_its_content(tmp_path):
    folder = tmp_path / "judge"
    folder.mkdir()
    weights = folder / "model.safetensors"
    (folder / "config.json").write_text("{}")
    reward = RewardSettings(scorer="reward_model", model=str(folder))

    def recipe(content, time):
        weights.write_bytes(content)
        os.utime(weights, (time, time))
        return _scorer_recipe(reward, tmp_path)

    assert recipe(b"one", 1) == recipe(b"one", 2) != recipe(b"two", 2)


def test_further_rewards_are_scored_on_the_same_answers_and_select_nothing(
    llama, make_llama, tokenizer, settings, tmp_path
):
    pairs = tmp_path / "pairs.jsonl"
    lines = [{"prompt": f"say {a}", "chosen": a, "rejected": "no", "split": "search"} for a in ("one", "two", "six")]
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    prompts = {"prompts": settings.reward.prompts}
    with serving(StubJudge(lambda body: "[[A]]")) as server:
        rewards = {
            "size": {"scorer": "length", **prompts},
            "one": {"scorer": "pattern", "pattern": r"\bone\b", **prompts},
            "liked": {"scorer": "judge", "judge": {"url": server.url, "model": "stub"}, **prompts},
            "held": {"scorer": "implicit_accuracy", "prompts": str(pairs)},
        }
        several = dataclasses.replace(settings, rewards=rewards)
        other = make_llama(1)
        reference = reference_scores("other", lambda: (other, tokenizer), several, "search", 0, root=tmp_path)
        given = {"split": "search", "seed": 0, "reference_model": other}
        policy = score_policy(llama, tokenizer, settings=several, baseline=reference, **given)
        asked = server.requests
        assert 0 < asked <= 24
    plain = score_policy(llama, tokenizer, settings=settings, **given)
    pd.testing.assert_frame_equal(policy[policy["kind"] != "beside"], plain, check_dtype=False)
    found = reward_and_tax(policy, reference)
    alone = reward_and_tax(plain, reference[reference["kind"] != "beside"])
    assert {**found, "rewards": {name: found["rewards"][name] for name in ("greedy", "sampled")}} == alone
    drawn = [table[(table["kind"] == "reward") & (table["decoder"] == "sampled")] for table in (policy, reference)]
    longer = [table["completion"].str.len().groupby(table["item_id"]).mean() for table in drawn]
    assert found["rewards"]["size"] == pytest.approx(float((longer[0] - longer[1]).mean()))
    assert set(found["rewards"]) >= {"size_se_items", "one", "liked_first_shown", "held", "held_se_items"}
    assert found["rewards"]["liked"] == 0.0
    assert json.loads(json.dumps(found, allow_nan=False)) == found
