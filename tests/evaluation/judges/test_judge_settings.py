import pytest

from omsweep.evaluation.judges.questions import comparison, grading, shown, template_of
from omsweep.evaluation.judges.settings import JudgeSettings, judge_from
from omsweep.evaluation.judges.verdicts import FORMS
from omsweep.evaluation.settings import EvaluateSettings, RewardSettings, objective_first
from omsweep.space.schema import Evaluate

JUDGE = {"url": "https://judge.example/v1", "model": "m"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "judge.example"}, "judge.url must be an address"),
        ({"url": "https://me:secret@judge.example/v1"}, "must not hold a user name"),
        ({"url": 3}, "judge.url must be an address"),
        ({"model": " "}, "judge.model must be"),
        ({"form": "best"}, r"judge.form must be one of \['alpaca', 'arena_hard', 'grade', 'pairwise'\], got 'best'"),
        ({"key": "sk-1234"}, "judge.key must be the name of an environment variable"),
        ({"form": "grade", "against": "x.jsonl"}, "judge.against belongs to forms that compare"),
        ({"against": "no.jsonl"}, "judge.against must be a file"),
        ({"template": "no.txt"}, "judge.template must be a file"),
        ({"samples": 0}, "judge.samples must be a whole number of at least 1, got 0"),
        ({"repeats": True}, "judge.repeats"),
        ({"timeout": 0}, "judge.timeout must be a number above 0"),
        ({"temperature": -1}, "judge.temperature must be a number of at least 0"),
        ({"max_cost": 1}, "needs price_in or price_out"),
        ({"sample": 1}, r"got unknown \['sample'\]"),
    ],
)
def test_settings_are_refused_by_name(change, said):
    with pytest.raises(ValueError, match=said) as refused:
        judge_from(JUDGE | change)
    assert "sk-1234" not in str(refused.value)
    assert "me:secret" not in str(refused.value)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_a_template_that_holds_what_it_is_given(form):
    judge = JudgeSettings(**JUDGE, form=form)
    chat = [
        {"role": "user", "content": "first question"},
        {"role": "assistant", "content": "first answer"},
        {"role": "user", "content": "second question"},
    ]
    body = (
        comparison(judge, chat, "ours", "theirs", "right") if judge.compares else grading(judge, chat, "ours", "right")
    )
    text = body["messages"][-1]["content"]
    said = ["first question", "first answer", "second question", "ours"]
    assert all(one in text for one in said)
    assert body["messages"][0]["role"] == "system"
    assert body["max_tokens"] == FORMS[form].tokens
    assert body.get("logprobs", False) == FORMS[form].probabilities
    if judge.compares:
        assert text.index("ours") < text.index("theirs")
        assert body != comparison(judge, chat, "theirs", "ours", "right")


def test_a_template_of_ones_own(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("[user]\n{{ question }} | {{ first }} | {{ second }}")
    judge = JudgeSettings(**JUDGE, template=str(file))
    chat = [{"role": "user", "content": "Q"}]
    assert comparison(judge, chat, "[system]\n{{ x }}", "B")["messages"] == [
        {"role": "user", "content": "Q | [system]\n{{ x }} | B"}
    ]
    for text, said in (
        ("no parts", r"needs a line \[user\]"),
        ("[user]\n{% if %}", "cannot read"),
        ("[user]\n{{ x }}", "cannot render"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=said):
            template_of(judge.template_file) and comparison(judge, chat, "a", "b")


def test_long_answers_lose_their_middle_and_say_so():
    judge = JudgeSettings(**JUDGE, longest_answer=30)
    found = shown("a" * 20 + "m" * 100 + "z" * 10, judge)
    assert found.startswith("a" * 20)
    assert found.endswith("z" * 10)
    assert "[... 100 characters left out ...]" in found
    assert shown("x" * 30, judge) == "x" * 30


def test_rewards_name_one_objective_and_the_rest_is_recorded():
    first = objective_first({"rewards": {"helpful": {"scorer": "length", "prompts": "tiny"}, "short": "length"}})
    assert first["reward"] == {"scorer": "length", "prompts": "tiny", "name": "helpful"}
    assert first["rewards"] == {"short": {"scorer": "length"}}
    marked = objective_first({"rewards": {"a": {"scorer": "length"}, "b": {"scorer": "tiny", "objective": True}}})
    assert marked["reward"] == {"scorer": "tiny", "name": "b"}
    beside = objective_first({"reward": "tiny", "rewards": {"a": "length"}})
    assert (beside["reward"], beside["rewards"]) == ("tiny", {"a": {"scorer": "length"}})
    for evaluate in (first, marked, beside):
        assert objective_first(evaluate) == evaluate
        section = Evaluate(**evaluate)
        assert Evaluate(**section.model_dump()) == section
        settings = EvaluateSettings(reward=section.reward, rewards=section.rewards)
        assert list(settings.rewards) == list(section.rewards)
        assert {one.prompts for one in settings.all_rewards} == {"tiny"}, "those of the objective, where none are named"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"rewards": {"a": {"scorer": "tiny", "objective": True}, "b": {"scorer": "tiny", "objective": True}}},
            "one obj",
        ),
        ({"reward": "tiny", "rewards": {"a": {"scorer": "tiny", "objective": True}}}, "one objective"),
    ],
)
def test_two_objectives_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        objective_first(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rewards": {"tiny": "length"}}, "must not be called greedy, sampled or as reward, got 'tiny'"),
        ({"rewards": {"greedy": "length"}}, "got 'greedy'"),
        ({"rewards": {"a": {"scorer": "length", "model": "x"}}}, r"rewards.a: reward model, .* belong to scorer"),
        ({"reward": {"scorer": "my.module:score", "prompts": "tiny"}}, "allow_scorer_code must be true"),
        ({"reward": {"scorer": "pattern"}}, "needs pattern"),
        ({"reward": {"scorer": "pattern", "pattern": "("}}, "must be a regular expression"),
        ({"reward": {"scorer": "judge"}}, "needs judge"),
        ({"reward": {"scorer": "length", "judge": JUDGE}}, "reward judge belongs to scorer 'judge'"),
    ],
)
def test_rewards_are_refused_by_name(given, said):
    with pytest.raises(ValueError, match=said):
        EvaluateSettings(**given)


def test_names_and_units():
    assert RewardSettings(scorer="a.b:score").called == "score"
    assert RewardSettings(scorer="judge", judge=JUDGE).unit == "points"
    assert RewardSettings(scorer="judge", judge=JUDGE | {"form": "grade"}).unit == "grades of 10"
    assert RewardSettings(scorer="length", name="size").called == "size"
