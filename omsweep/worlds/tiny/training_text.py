"""What the families are trained on: raw text, then conversations. Test prompts never occur."""

from random import Random

from omsweep.worlds.tiny.draw import draw_exercise, draw_open
from omsweep.worlds.tiny.exercise import Skill, words_of
from omsweep.worlds.tiny.skills.table import SKILLS
from omsweep.worlds.tiny.topics import draw_response, draw_statement, topic_of

QUESTION, ANSWER = "question :", "answer :"
FAQ_SHARE = 0.7
OPEN_SHARE = 0.12

WORDS = words_of(QUESTION, ANSWER)


def draw_document(rng: Random) -> str:
    """One raw document: a statement or a question with its answer, never in chat form."""
    about_topics = rng.random() < OPEN_SHARE
    if rng.random() >= FAQ_SHARE:
        return draw_statement(rng) if about_topics else _practised(rng).state(rng)
    prompt, answer = draw_conversation(rng, open_share=1.0 if about_topics else 0.0)
    return f"{QUESTION} {prompt} {ANSWER} {answer}"


def draw_conversation(rng: Random, *, open_share: float = OPEN_SHARE) -> tuple[str, str]:
    """One turn (prompt, answer): open-ended with probability `open_share`, else of a skill by its share."""
    if rng.random() < open_share:
        prompt = draw_open(rng, "train")
        topic = topic_of(prompt)
        assert topic is not None, f"an open-ended prompt names a topic, got {prompt!r}"
        return prompt, draw_response(rng, topic)
    exercise = draw_exercise(rng, _practised(rng), "train")
    return exercise.prompt, exercise.answer


def _practised(rng: Random) -> Skill:
    skills = list(SKILLS.values())
    return rng.choices(skills, weights=[skill.share for skill in skills])[0]
