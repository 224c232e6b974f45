"""What a space's judges name is read before anything starts, and paths are those of the file."""

import pytest
import yaml

from omsweep.commands.check.load import load_checked
from omsweep.space.yaml_text import SpaceFileError

JUDGE = {"url": "https://judge.example/v1", "model": "m"}
SPACE = {
    "name": "s",
    "mode": "compare",
    "families": ["tiny-llama"],
    "space": {"algorithm": "dpo", "learning_rate": 4e-4, "beta": 0.1, "method": {"adamw": {}}},
}


def loaded(folder, judge, **more):
    file = folder / "space.yaml"
    rewards = {"gold": "tiny", "liked": {"scorer": "judge", "judge": {**JUDGE, **judge}}}
    file.write_text(yaml.safe_dump({**SPACE, "evaluate": {"rewards": rewards}, **more}))
    return load_checked(file)


def test_the_first_reward_is_the_objective_and_paths_are_the_files(tmp_path):
    (tmp_path / "mine.txt").write_text("[user]\n{{ question }} {{ first }} {{ second }}")
    (tmp_path / "fixed.jsonl").write_text('{"id": "p", "answer": "a"}\n')
    space = loaded(tmp_path, {"template": "mine.txt", "against": "fixed.jsonl"})
    assert (space.evaluate.reward.scorer, space.evaluate.reward.called) == ("tiny", "gold")
    judge = space.evaluate.rewards["liked"].judge
    assert (judge.template, judge.against) == (str(tmp_path / "mine.txt"), str(tmp_path / "fixed.jsonl"))
    assert loaded(tmp_path, {"key": "JUDGE_KEY"}, secrets={"JUDGE_KEY": "env"})


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"template": "bad.txt"}, r"evaluate.rewards.liked.judge: .*bad.txt: a judge's template needs a line \[user\]"),
        ({"against": "bad.jsonl"}, r"evaluate.rewards.liked.judge: .*bad.jsonl:1: needs id or prompt, and answer"),
        ({"key": "JUDGE_KEY"}, "evaluate.rewards.liked.judge.key: JUDGE_KEY must be named under `secrets`"),
        ({"form": "best"}, "judge.form must be one of"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, judge, said):
    (tmp_path / "bad.txt").write_text("nothing")
    (tmp_path / "bad.jsonl").write_text('{"id": "p"}\n')
    with pytest.raises(SpaceFileError, match=said):
        loaded(tmp_path, judge)
