"""Instructions to fine-tune on: a function of the seed, short, from their own pool of prompts."""

from itertools import islice

from omsweep.worlds.everyday.instructions import LONGEST_SENTENCE, REPLIES, SHARES, conversations, documented
from omsweep.worlds.everyday.items import SKILLS, tax_items
from omsweep.worlds.everyday.prompts import prompts_of

DRAWN = list(islice(conversations(0), 600))


def test_the_stream_is_a_function_of_the_seed() -> None:
    assert list(islice(conversations(0), 50)) == DRAWN[:50]
    assert list(islice(conversations(1), 50)) != DRAWN[:50]


def test_each_kind_has_its_share() -> None:
    everyday = {record["prompt"] for record in prompts_of("sft")}
    answers = dict(documented())
    counts = {
        "everyday": sum(prompt in everyday and answer in REPLIES for prompt, answer in DRAWN),
        "documentation": sum(answers.get(prompt) == answer for prompt, answer in DRAWN),
    }
    counts["words"] = len(DRAWN) - sum(counts.values())
    assert all(abs(count / len(DRAWN) - SHARES[kind]) < 0.07 for kind, count in counts.items())


def test_the_documentation_of_python_gives_whole_sentences() -> None:
    found = documented()
    assert len(found) >= 40
    assert all(40 <= len(answer) <= LONGEST_SENTENCE and answer[0].isupper() for _, answer in found)
    assert all(answer.endswith(".") and "==" not in answer for _, answer in found)


def test_nothing_of_the_suite_is_among_the_instructions() -> None:
    asked = {prompt for prompt, _ in DRAWN}
    shown = " ".join(f"{prompt} {answer}" for prompt, answer in DRAWN)
    for skill in SKILLS:
        for item in tax_items(skill):
            assert item["prompt"] not in asked
            assert item["prefix"] not in shown or skill == "code"  # some prefixes there are as short as `return a`
