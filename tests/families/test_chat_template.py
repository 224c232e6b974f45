"""What templates of public models' kinds refuse, leave out or add is said, by tokenizer and from files alike."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from omsweep.families.chat_template import (
    Template,
    answer_problem,
    check_answer_ends,
    prompt_problem,
    template_at_hand,
    template_in,
    template_of,
)
from omsweep.families.decoding import DecodingSettings
from omsweep.families.family import ModelFamily
from omsweep.families.load import load_tokenizer
from omsweep.families.tiny.architecture import random_family
from omsweep.families.tiny.tokenizer import CHAT_TEMPLATE

CHATML = (
    "{% for m in messages %}<|user|> {{ m.role }}\n{{ m.content | trim }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|user|> assistant\n{% endif %}"
)
SILENT = "{% for m in messages %}{% if m.role != 'system' %}" + CHATML.split("%}", 1)[1].replace(
    "{% endfor %}", "{% endif %}{% endfor %}"
)
THINKING = CHATML.replace(
    "{{ m.content | trim }}", "{% if m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}"
)
STRIPPING = CHATML.replace("m.content | trim", "m.content.split('</think>')[-1]")
OPENING = CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
LONG = CHAT_TEMPLATE + "{% if messages | length > 2 %}{{ a.b }}{% endif %}"
USER, SYSTEM = {"role": "user", "content": "hi there"}, {"role": "system", "content": "be brief"}
TOOL = {"role": "tool", "content": '{"a": "b"}'}
ANSWER, THOUGHT = [{"role": "assistant", "content": "yes"}], [{"role": "assistant", "content": "<think>no</think>yes"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_family(tmp_path_factory.mktemp("family") / "sft", hidden_size=16, intermediate_size=16)


@pytest.fixture(params=["tokenizer", "files"])
def template(request: pytest.FixtureRequest, folder: Path) -> Any:
    """`template(text, **template_arguments)`, rendered by transformers or from the folder's files."""

    def made(text: str, **arguments: Any) -> Template:
        decoding = DecodingSettings(template_arguments=arguments)
        family = ModelFamily(name="mine", base="x", sft=str(folder), chat_template=text, decoding=decoding)
        if request.param == "files":
            found = template_in(folder, family)
            assert found is not None
            return found
        return template_of(load_tokenizer(str(folder), chat_template=text, template_arguments=arguments))

    return made


def test_files_and_tokenizer_render_alike(folder: Path) -> None:
    found = template_at_hand(ModelFamily(name="mine", base="x", sft=str(folder)))
    assert found is not None
    own = template_of(load_tokenizer(str(folder)))
    for asked in (True, False):
        assert found.render([USER, *ANSWER, USER], asked) == own.render([USER, *ANSWER, USER], asked)
    assert {"</s>", "<|user|>"} <= found.special <= own.special | {"<unk>", "<pad>"}


@pytest.mark.parametrize("text", [CHAT_TEMPLATE, CHATML, STRIPPING])
def test_what_is_rendered_whole_is_no_problem(template: Any, text: str) -> None:
    found = template(text)
    check_answer_ends(found, "mine")
    assert prompt_problem(found, [USER]) is None
    assert answer_problem(found, [USER], ANSWER) == (None, "")
    assert answer_problem(found, [USER, *THOUGHT, USER], ANSWER) == (None, "")  # an earlier thought may go


@pytest.mark.parametrize(
    ("text", "prompt", "answer", "problem"),
    [
        (
            CHAT_TEMPLATE,
            [SYSTEM, USER],
            ANSWER,
            "no system turn here: roles must be .* system; put the text of the system",
        ),
        (CHAT_TEMPLATE, [USER, TOOL], ANSWER, "no tool turn here: .*tool"),
        (LONG, [USER, USER], ANSWER, "no user, user, assistant: .*undefined"),
        (SILENT, [SYSTEM, USER], ANSWER, r"the system turn 0 not or not whole; put the text of the system turns"),
        (STRIPPING, [USER], THOUGHT, r"the assistant turn 1 not or not whole; take the thoughts out of the answers"),
        (OPENING, [USER], ANSWER, "a prompt alone otherwise than with its answer .*enable_thinking"),
    ],
    ids=["system", "tool", "undefined", "left out", "thought left out", "opens a thought"],
)
def test_what_is_refused_or_left_out_is_said(template: Any, text: str, prompt: Any, answer: Any, problem: str) -> None:
    assert re.match(problem, str(answer_problem(template(text), prompt, answer)[0]))


def test_what_is_added_is_said_and_arguments_count(template: Any) -> None:
    assert answer_problem(template(THINKING), [USER], ANSWER) == (None, "<think></think>")
    switched = THINKING.replace("m.role == 'assistant'", "m.role == 'assistant' and enable_thinking")
    assert answer_problem(template(switched, enable_thinking=False), [USER], ANSWER) == (None, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CHATML.replace("</s>", ""), "writes no end token behind the assistant's turn.*chat_template.*eos_token"),
        ("{{ bos_token }}", "leaves out the assistant's turn"),
        ("{% for m in messages %}", "Unexpected end of template"),
        ("{{ raise_exception('no') }}", "renders no question with its answer: no"),
    ],
)
def test_templates_that_end_no_answer_are_refused(template: Any, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"the chat template of .*{message}"):
        check_answer_ends(template(text), "mine")


def test_an_eos_token_that_the_tokenizer_does_not_name_ends_nothing(tmp_path: Path) -> None:
    folder = random_family(tmp_path / "sft", hidden_size=16, intermediate_size=16)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"pad_token": settings["eos_token"]}))
    found = template_at_hand(ModelFamily(name="mine", base="x", sft=str(folder)))
    assert found is not None
    check_answer_ends(found, "mine")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": None}))
    found = template_at_hand(ModelFamily(name="mine", base="x", sft=str(folder)))
    assert found is not None
    with pytest.raises(ValueError, match="writes no end token"):
        check_answer_ends(found, "mine")
