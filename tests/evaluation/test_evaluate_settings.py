import re
import subprocess
import sys
from collections.abc import Iterable

import pytest

from omsweep.evaluation.settings import (
    IMPLICIT,
    SCORERS,
    TAX_SUITES,
    EvaluateSettings,
    RewardSettings,
    prompts_path,
    suite_folder,
)


def names(table: Iterable[str]) -> str:
    """Its rows as a message lists them, as a pattern."""
    return re.escape(str(sorted(table)))


def test_defaults_are_the_contract():
    settings = EvaluateSettings()
    assert (settings.tax, settings.reward.scorer, settings.samples, settings.temperature) == ("tiny", "tiny", 4, 1.0)


def test_reward_may_be_a_name_or_a_mapping():
    assert EvaluateSettings(tax="tiny", reward="tiny").reward == RewardSettings(scorer="tiny")
    judged = EvaluateSettings(reward={"scorer": "reward_model", "model": "some/model", "prompts": "smollm2"}).reward
    assert (judged.scorer, judged.model) == ("reward_model", "some/model")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"samples": 0}, "samples must be a whole number of at least 1, got 0"),
        ({"samples": True}, "samples must be"),
        ({"max_new_tokens": 1.5}, "max_new_tokens must be a whole number of at least 1, got 1.5"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"temperature": float("inf")}, "temperature must be above 0, got inf"),
        ({"temperature": float("nan")}, "temperature must be above 0, got nan"),
        ({"limit": 0}, "limit must be"),
        ({"tax": "hellaswag"}, f"tax suite must be one of {names(TAX_SUITES)} or a folder .*'hellaswag'"),
        ({"reward": "gold"}, f"reward scorer must be one of {names(SCORERS)}, or module:function, got 'gold'"),
        ({"reward": {"scorer": "reward_model"}}, "needs model"),
        (
            {"reward": {"scorer": "reward_model", "model": "x"}},
            "^reward must have prompts beside scorer 'reward_model'",
        ),
        ({"reward": "positivity"}, "^reward must have prompts beside scorer 'positivity'"),
        ({"reward": {"scorer": "tiny", "model": "x"}}, "belong to scorer 'reward_model'"),
        ({"reward": {"scorer": "tiny", "dtype": "bfloat16"}}, "belong to scorer 'reward_model'"),
        ({"reward": {"scorer": "tiny", "prompts": "nowhere.jsonl"}}, "reward prompts must be one of"),
        ({"reward": {"scorer": "tiny", "modle": "x"}}, r"got unknown \['modle'\]"),
        ({"reward": 3}, "evaluate.reward must be a mapping, got 3"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(given, message):
    with pytest.raises(ValueError, match=message):
        EvaluateSettings(**given)


def test_folders_and_files_by_path(suite_path, prompts_file):
    settings = EvaluateSettings(tax=str(suite_path), reward={"prompts": str(prompts_file)})
    assert suite_folder(settings.tax) == suite_path
    assert prompts_path(settings.reward.prompts) == prompts_file


def test_every_scorer_can_be_made():
    from omsweep.evaluation.scorers import make_scorer

    for name in SCORERS.keys() - {IMPLICIT}:
        needed = {
            "reward_model": {"model": "folder"},
            "pattern": {"pattern": "a"},
            "judge": {"judge": {"url": "https://judge.example/v1", "model": "m", "form": "grade"}},
        }
        settings = RewardSettings(scorer=name, **needed.get(name, {}))
        assert callable(make_scorer(settings).score)


def test_settings_import_nothing_heavy():
    code = (
        "import sys; from omsweep.evaluation.settings import EvaluateSettings; EvaluateSettings();"
        "print([m for m in ('torch','transformers','lm_eval','datasets','pandas','numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
