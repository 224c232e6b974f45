"""`omsweep evaluate --add-reward`: from saved answers, once, without changing what was recorded."""

import math

import pandas as pd
import pytest

from omsweep.cli import main
from omsweep.evaluation.prompts import read_reward_prompts
from omsweep.evaluation.score import COLUMNS
from omsweep.evaluation.settings import prompts_path
from omsweep.space.build import build_space
from omsweep.store.records import TrialRecord
from tests.evaluation.judges.stub_judge import StubJudge, serving
from tests.written_sweep import WrittenSweep

CONTENT = {
    "name": "s",
    "mode": "compare",
    "families": ["tiny-llama"],
    "space": {"algorithm": "dpo", "learning_rate": 4e-4, "beta": 0.1, "method": {"adamw": {}}},
    "evaluate": {"limit": 8, "samples": 2},
}
MODELS = {"base": "/gone", "sft": "/gone", "weights_hash": "0", "dtype": "float32"}


def table(answer):
    prompts = read_reward_prompts(prompts_path("tiny"), split="search", limit=8)
    rows = [
        {"item_id": one.item_id, "cluster": one.cluster, "decoder": decoder, "sample": sample}
        for one in prompts
        for decoder, sample in (("sampled", 0), ("sampled", 1), ("greedy", 0))
    ]
    frame = pd.DataFrame(rows).assign(
        kind="reward",
        task="tiny",
        category="reward",
        split="search",
        score=0.5,
        length=3.0,
        finished=1.0,
        completion=answer,
    )
    return frame.reindex(columns=list(COLUMNS))


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "cache"))
    made = WrittenSweep(tmp_path / "runs", "s")
    made.create(build_space(CONTENT).resolved())
    made.happened("prepared", family="tiny-llama", sft_seed=None, reference={}, models=MODELS)
    made.write_reference_scores("tiny-llama", table("yes ."))
    for name, answer in (("a", "yes indeed ."), ("b", "no")):
        made.append(
            TrialRecord(
                trial_id=name, family="tiny-llama", state="completed", reward=0.1, tax=1.0, rewards={"sampled": 0.1}
            )
        )
        made.write_scores(name, table(answer))
    made.append(TrialRecord(trial_id="c", family="tiny-llama", state="completed", reward=0.2, tax=2.0))
    return made


def add(sweep, reward, *options):
    return main(["evaluate", "--sweep", "s", "--storage", str(sweep.storage), "--add-reward", reward, *options])


def records(sweep):
    return {one.trial_id: one for one in sweep.state().records()}


def test_saved_answers_get_the_reward_and_nothing_else_changes(sweep, capsys):
    before = records(sweep)
    assert add(sweep, "{name: size, scorer: length}") == 0
    said = capsys.readouterr()
    assert "size" in said.out
    assert "1 trial could not be scored, neither the answers to tiny nor the policy is there: c" in said.err
    after = records(sweep)
    assert after["a"].rewards == {"sampled": 0.1, "size": 7.0, "size_se_items": 0.0}
    assert after["b"].rewards["size"] == -3.0
    for name, one in before.items():
        assert after[name].model_copy(update={"rewards": one.rewards}) == one
    assert [one.trial_id for one in sweep.trials()] == ["a", "b", "c"]
    assert sweep.trials()[0].rewards == after["a"].rewards


def test_a_second_call_scores_only_what_is_missing(sweep, capsys):
    with serving(StubJudge(lambda body: "[[A]]")) as server:
        reward = f"{{name: liked, scorer: judge, judge: {{url: '{server.url}', model: stub}}}}"
        assert add(sweep, reward) == 0
        asked = server.requests
        assert asked == 2 * 8 * 2
        sweep.write_scores("c", table("maybe"))
        assert add(sweep, reward) == 0
        assert server.requests == asked + 16
    found = records(sweep)["c"].rewards
    assert found["liked"] == 0.0  # whatever is shown first is liked: a tie
    assert found["liked_first_shown"] == 100.0
    assert math.isclose(found["liked_length_controlled"], 0.0, abs_tol=1e-6)


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("{scorer: length}", "needs a name"),
        ("{name: sampled, scorer: length}", "other than greedy, sampled"),
        ("{name: tiny, scorer: length}", "must not be called"),
        ("nowhere.yaml", "must be a file or"),
        ("{name: [", "no YAML"),
        ("{name: mine, scorer: 'os:getcwd'}", "--allow-scorer-code"),
        ("{name: a, scorer: length, model: x}", "belong to scorer 'reward_model'"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(sweep, reward, said, capsys):
    assert add(sweep, reward) == 2
    assert said in capsys.readouterr().err
    assert not sweep.state().rewards_added


def test_another_reward_of_the_same_name_is_refused(sweep, capsys):
    assert add(sweep, "{name: size, scorer: length}") == 0
    assert add(sweep, "{name: size, scorer: pattern, pattern: a}") == 2
    assert "has another reward size already" in capsys.readouterr().err


def test_one_of_checkpoint_and_reward(sweep, capsys):
    assert main(["evaluate", "--sweep", "s", "--storage", str(sweep.storage)]) == 2
    assert "one of the two" in capsys.readouterr().err
