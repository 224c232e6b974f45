"""Answers of several turns, and scorers on answers that are there, without a model."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from omsweep.evaluation.generation import Completion
from omsweep.evaluation.prompts import all_reward_prompts, read_reward_prompts
from omsweep.evaluation.rewards.answers import BESIDE, answers, scored
from omsweep.evaluation.settings import RewardSettings
from omsweep.evaluation.statistics import reward_and_tax, rewards_beside
from tests.evaluation.judges.stub_judge import StubJudge, serving


def completion(text):
    return Completion(text=text, token_ids=(1,) * len(text), finished=False)


@pytest.fixture
def mt_bench(tmp_path, monkeypatch):
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "question.jsonl"
    questions = [
        {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."], "split": "search"},
        {"question_id": 111, "category": "math", "turns": ["2+2?", "3+3?"], "reference": ["4", "6"], "split": "search"},
        {
            "question_id": 150,
            "category": "stem",
            "turns": ["Why?", "Why not?"],
            "reference": ["a", ""],
            "split": "report",
        },
    ]
    file.write_text("".join(json.dumps(one) + "\n" for one in questions))
    return file


def rows_of(given):
    return pd.DataFrame(
        {
            "kind": "reward",
            "category": [one.prompt.category for one in given],
            "item_id": [one.item_id for one in given],
            "cluster": [one.prompt.cluster for one in given],
            "split": "search",
            "decoder": [one.decoder for one in given],
            "sample": [one.sample for one in given],
            "length": 1.0,
            "finished": 1.0,
            "completion": [one.completion.text for one in given],
        }
    )


def test_questions_of_mt_bench_are_read_with_turns_temperatures_and_references(mt_bench):
    writing, maths, stem = all_reward_prompts(mt_bench)
    assert (writing.item_id, writing.later, writing.temperature) == ("81", ("Again.",), 0.7)
    assert (maths.temperature, maths.references) == (0.0, ("4", "6"))
    assert (stem.temperature, stem.references) == (0.1, ("", ""))  # of a category that is judged without


@pytest.mark.parametrize("turns", ["text", [], [1], ["a", " "]])
def test_turns_that_are_no_texts_are_refused(tmp_path, turns):
    file = tmp_path / "q.jsonl"
    file.write_text(json.dumps({"question_id": 1, "turns": turns}))
    with pytest.raises(ValueError, match=r"q.jsonl:1"):
        all_reward_prompts(file)


def test_each_answer_goes_on_with_its_own_earlier_ones(mt_bench):
    asked = []

    def generate(chats, times, heat):
        asked.append((len(chats), times, heat))
        return [[completion(f"{chat[-1]['content']}/{heat}/{sample}") for sample in range(times)] for chat in chats]

    prompts = read_reward_prompts(mt_bench, split="search")
    found = answers(generate, prompts, samples=2, temperature=1.0)
    assert len(found) == 2 * 2 * 2 + 2 * 2
    assert (1, 2, 0.7) in asked
    assert (1, 2, 0.0) in asked
    second = [one for one in found if one.item_id == "81#2" and one.decoder == "sampled"]
    assert [[turn["content"] for turn in one.chat] for one in second] == [
        ["Write.", "Write./0.7/0", "Again."],
        ["Write.", "Write./0.7/1", "Again."],
    ]
    greedy = [one for one in found if one.decoder == "greedy"]
    assert {one.completion.text.split("/")[1] for one in greedy} == {"0.0"}


def test_a_judge_sees_earlier_turns_and_the_correct_answer(mt_bench):
    seen = []

    def verdict(body):
        seen.append(body["messages"][-1]["content"])
        return "[[8]]" if "#" in seen[-1] else "[[6]]"

    given = answers(
        lambda chats, times, heat: [[completion(f"said {len(chat)}#"[: 6 if len(chat) < 3 else 7])] for chat in chats],
        read_reward_prompts(mt_bench, split="search"),
        samples=1,
        temperature=1.0,
    )
    with serving(StubJudge(verdict)) as server:
        judge = {"url": server.url, "model": "stub", "form": "grade"}
        found = scored(
            rows_of(given), RewardSettings(scorer="judge", judge=judge, prompts=str(mt_bench), name="mt_bench")
        )
    assert set(found["task"]) == {"mt_bench"}
    assert found.loc[found["decoder"] == "greedy", "score"].isna().all()  # nobody pays for these
    drawn = found[found["decoder"] == "sampled"].set_index("item_id")["score"]
    assert drawn.to_dict() == {"81": 6.0, "81#2": 8.0, "111": 6.0, "111#2": 8.0}
    assert sum("a correct answer" in one for one in seen) == 2
    assert sum("said 1" in one and "said 3#" in one for one in seen) == 2


def test_answers_to_other_prompts_are_refused(mt_bench):
    rows = pd.DataFrame({"item_id": ["81#3"], "decoder": ["sampled"], "sample": [0], "completion": ["x"]})
    with pytest.raises(ValueError, match="'81#3' was answered, and is not among"):
        scored(rows, RewardSettings(scorer="length", prompts=str(mt_bench)))


@pytest.fixture
def questions(tmp_path, monkeypatch):
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "prompts.jsonl"
    file.write_text(
        "".join(json.dumps({"id": f"p{n}", "prompt": f"ask {n}", "split": "search"}) + "\n" for n in range(40))
    )
    return file


def table(answer, samples=2):
    rows = [
        ("sampled", number, sample, answer(number, sample)) for number in range(40) for sample in range(samples)
    ] + [("greedy", number, 0, answer(number, 0)) for number in range(40)]
    return pd.DataFrame(
        {
            "kind": "reward",
            "task": "length",
            "category": "c",
            "item_id": [f"p{number}" for _, number, *_ in rows],
            "cluster": [f"p{number}" for _, number, *_ in rows],
            "split": "search",
            "decoder": [row[0] for row in rows],
            "sample": [row[2] for row in rows],
            "score": 0.0,
            "length": 1.0,
            "finished": 1.0,
            "kl": math.nan,
            "kl_sampled": math.nan,
            "completion": [row[3] for row in rows],
        }
    )


def test_a_judge_compares_with_the_sft_models_answers_and_its_numbers_are_told(questions):
    """It likes `good` and long answers, and in every fifth pair what is shown first."""

    def verdict(body):
        text = body["messages"][-1]["content"]
        if int(text.split("ask ")[1].split()[0]) % 5 == 0:
            return "[[A]]"
        return f"[[{'A' if text.index('good') < text.index('plain') else 'B'}]]"

    theirs = table(lambda number, sample: f"plain {number} {sample}")
    ours = table(lambda number, sample: f"good {number} {sample}")
    with serving(StubJudge(verdict)) as server:
        judge = {"url": server.url, "model": "stub", "repeats": 2}
        reward = RewardSettings(scorer="judge", judge=judge, prompts=str(questions), name="liked")
        before = scored(theirs.assign(kind=BESIDE), reward)
        assert server.requests == 0
        after = scored(ours.assign(kind=BESIDE), reward, baseline=before)
        assert server.requests == 40 * 2 * 2
    numbers = rewards_beside(after, before)
    assert numbers["liked"] == pytest.approx(40.0)  # 90 points, of which 50 are a tie
    assert numbers["liked_first_shown"] == pytest.approx(20.0)
    assert numbers["liked_judge_se"] == 0.0
    assert 0 < numbers["liked_se_items"] < 10
    assert numbers["liked_length_controlled"] == pytest.approx(40.0, abs=3.0)
    both = reward_and_tax(pd.concat([ours, after]), pd.concat([theirs, before]))
    assert both["rewards"]["liked"] == numbers["liked"]
    assert (both["reward"], both["finished_rate"], both["refusal_rate"]) == (0.0, 1.0, 0.0)


def test_a_reward_recorded_beside_is_the_mean_difference_over_prompts(questions):
    theirs, ours = table(lambda n, s: "ab"), table(lambda n, s: "ab" * (1 + n % 2))
    length = RewardSettings(scorer="length", prompts=str(questions), name="characters")
    numbers = rewards_beside(*(scored(one.assign(kind=BESIDE), length) for one in (ours, theirs)))
    assert numbers["characters"] == pytest.approx(1.0)
    assert numbers["characters_se_items"] == pytest.approx(np.std(np.tile([0, 2], 20), ddof=1) / np.sqrt(40))


def test_a_fixed_baseline_is_found_by_id_or_prompt_and_one_that_lacks_an_answer_is_named(questions, tmp_path):
    file = tmp_path / "baseline.jsonl"
    lines = [
        {"id": f"p{n}", "answer": "plain"} if n % 2 else {"instruction": f"ask {n}", "output": "plain"}
        for n in range(39)
    ]
    file.write_text("".join(json.dumps(one) + "\n" for one in lines))
    with serving(StubJudge(lambda body: "[[C]]")) as server:
        judge = {"url": server.url, "model": "stub", "against": str(file)}
        reward = RewardSettings(scorer="judge", judge=judge, prompts=str(questions))
        with pytest.raises(ValueError, match="has no answer to reward prompt p39: 'ask 39'"):
            scored(table(lambda n, s: "good"), reward)
        found = scored(table(lambda n, s: "good").query("item_id != 'p39'"), reward)
    assert set(found["score"].dropna()) == {50.0}


def own(prompts, completions):
    return [len(chat[-1]["content"]) + len(answer) for chat, answer in zip(prompts, completions, strict=True)]


def too_few(prompts, completions):
    return [1.0]


def not_numbers(prompts, completions):
    return [math.nan for _ in completions]


HERE = "tests.evaluation.rewards.test_answers"


@pytest.mark.parametrize(
    "reward",
    [
        {"scorer": "length"},
        {"scorer": "pattern", "pattern": "a+"},
        {"scorer": f"{HERE}:own"},
        {"scorer": "tiny"},
    ],
    ids=lambda one: one["scorer"],
)
@pytest.mark.parametrize("answer", ["", "a" * 100_000, "half \ufffd", "\x00\x1b[2J", "never " * 5000])
def test_bad_answers_have_one_finite_score(questions, reward, answer):
    found = scored(table(lambda n, s: answer), RewardSettings(prompts=str(questions), **reward))
    assert np.isfinite(found["score"]).all()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("too_few", "must return 120 numbers, got 1"),
        ("not_numbers", "finite numbers, got nan"),
        ("absent", "cannot import"),
    ],
)
def test_what_an_own_scorer_returns_is_checked(questions, function, said):
    with pytest.raises(ValueError, match=said):
        scored(table(lambda n, s: "x"), RewardSettings(prompts=str(questions), scorer=f"{HERE}:{function}"))
