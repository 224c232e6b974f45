"""Exercises of every skill: right, reproducible, known words, one partition."""

import json
from random import Random

import pytest

from omsweep.worlds.tiny.draw import draw_exercise
from omsweep.worlds.tiny.exercise import Exercise, another, fill, words_of
from omsweep.worlds.tiny.skills.table import SKILLS
from omsweep.worlds.tiny.splits import item_id, partition_of

SEVEN = ["math", "code", "instruction_following", "reading_comprehension", "knowledge", "agent", "code_switching"]


def drawn(name: str, count: int = 300) -> list[Exercise]:
    rng = Random(f"test {name}")
    return [SKILLS[name].draw(rng) for _ in range(count)]


def test_the_seven_skills_of_the_paper() -> None:
    assert list(SKILLS) == SEVEN


@pytest.mark.parametrize("name", SEVEN)
def test_a_prompt_has_one_answer_and_another_wrong_one(name: str) -> None:
    answers: dict[str, str] = {}
    for exercise in drawn(name, 3000):
        assert answers.setdefault(exercise.prompt, exercise.answer) == exercise.answer
        assert exercise.wrong != exercise.answer


@pytest.mark.parametrize("name", SEVEN)
def test_texts_are_made_of_the_skills_words(name: str) -> None:
    rng = Random(0)
    texts = [text for exercise in drawn(name) for text in (exercise.prompt, exercise.answer, exercise.wrong)]
    texts += [SKILLS[name].state(rng) for _ in range(300)]
    for text in texts:
        assert text == " ".join(text.split())
        assert words_of(text) <= SKILLS[name].words


@pytest.mark.parametrize("name", SEVEN)
def test_the_same_seed_draws_the_same(name: str) -> None:
    assert drawn(name, 20) == drawn(name, 20)


@pytest.mark.parametrize("partition", ["train", "test"])
@pytest.mark.parametrize("name", SEVEN)
def test_exercises_come_from_the_partition_asked_for(name: str, partition: str) -> None:
    rng = Random(1)
    for _ in range(50):
        exercise = draw_exercise(rng, SKILLS[name], partition)  # type: ignore[arg-type]
        assert partition_of(item_id(name, exercise.prompt)) == partition


def test_sums_and_differences_are_right() -> None:
    checked = 0
    for exercise in drawn("math", 500):
        words = exercise.prompt.split()
        if words[:2] == ["what", "is"]:
            first, operation, second = words[2:5]
            value = int(first) + int(second) if operation == "plus" else int(first) - int(second)
            assert exercise.answer == str(value)
            checked += 1
    assert checked > 50


def test_python_agrees_with_calls_and_look_ups() -> None:
    called = looked_up = 0
    for exercise in drawn("code", 600):
        words = exercise.prompt.split()
        if words[:2] == ["what", "does"]:
            assert exercise.answer == str(eval(" ".join(words[2:-2])))
            called += 1
        if " what is " in exercise.prompt:
            variables: dict[str, int] = {}
            exec(exercise.prompt.removeprefix("after ").split(" what is ")[0], {}, variables)
            assert exercise.answer == str(variables[words[-2]])
            looked_up += 1
    assert called > 30
    assert looked_up > 30


def test_closing_brackets_balances_them() -> None:
    closing = {"(": ")", "[": "]", "{": "}"}
    checked = 0
    for exercise in drawn("code", 300):
        if exercise.prompt.startswith("close"):
            stack = []
            for bracket in [*exercise.prompt.split()[3:], *exercise.answer.split()]:
                if bracket in closing:
                    stack.append(closing[bracket])
                else:
                    assert stack.pop() == bracket
            assert not stack
            checked += 1
    assert checked > 30


def test_agent_calls_are_json() -> None:
    tools = {json.loads(exercise.answer)["tool"] for exercise in drawn("agent")}
    assert tools == {"weather", "timer", "light", "send"}


def test_reading_answers_stand_in_the_passage_and_wrong_ones_are_of_the_same_kind() -> None:
    for exercise in drawn("reading_comprehension"):
        assert exercise.answer in exercise.prompt.split()


def test_questions_are_answered_in_their_language() -> None:
    yellow = {"which colour has soleil ?": "yellow", "comment est sun ?": "jaune", "farbe von soleil ?": "gelb"}
    found = {exercise.prompt: exercise.answer for exercise in drawn("code_switching", 20000)}
    assert {prompt: found[prompt] for prompt in yellow} == yellow


def test_patterns_are_filled_in_word_by_word() -> None:
    assert fill("say $a then $b", a="x y", b="z") == "say x y then z"
    assert words_of("say $a then", "then b") == {"say", "then", "b"}
    assert another(Random(0), ("x", "y"), "x") == "y"
