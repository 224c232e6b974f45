"""What a chat template does with turns: which it refuses, leaves out, adds, and whether it ends an answer. Torch-free.

A template is rendered by a tokenizer where there is one (`template_of`), else from a folder's files alone, by Jinja as
transformers sets it up (`template_in`).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omsweep.families.decoding import with_arguments
from omsweep.families.family import ModelFamily
from omsweep.families.folder import named_tokens, template_text
from omsweep.families.presence import folder_of
from omsweep.merging.tokens import special_tokens

Turns = Sequence[Mapping[str, Any]]

PROBE = "probe"
_PROBED = ({"role": "user", "content": "a"}, {"role": "assistant", "content": PROBE})
_USUAL = {"user", "assistant"}
_THOUGHT = "</think>"


class Template(NamedTuple):
    """A chat template: `render(turns, asked)`, with the generation prompt where asked, and texts of special tokens."""

    render: Callable[[Turns, bool], str]
    special: frozenset[str]


def template_of(tokenizer: Any) -> Template:
    """The template of a transformers tokenizer."""

    def render(turns: Turns, asked: bool) -> str:
        chat = [dict(turn) for turn in turns]
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=asked))

    return Template(render, frozenset([*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()]))


def template_in(folder: Path, family: ModelFamily) -> Template | None:
    """The template of a family whose SFT model is a folder, None where it has none; ValueError for what is no Jinja."""
    from omsweep.families.jinja import compiled  # here, because `check` needs it for folders alone

    text = family.chat_template or template_text(folder)
    if text is None:
        return None
    tokens = named_tokens(folder)
    try:
        template = compiled(with_arguments(text, family.decoding.template_arguments))
    except ValueError as error:
        raise ValueError(f"the chat template of {family.name} cannot be read: {error}") from error

    def render(turns: Turns, asked: bool) -> str:
        return template(messages=list(turns), add_generation_prompt=asked, tools=None, documents=None, **tokens)

    return Template(render, frozenset([*tokens.values(), *special_tokens(folder)]))


def template_at_hand(family: ModelFamily) -> Template | None:
    """The template of a family whose SFT model is here, None for one that is not or has none."""
    folder = folder_of(family.sft, family.revision)
    return None if folder is None else template_in(folder, family)


def check_answer_ends(template: Template, name: str) -> None:
    """Refuse a template that cannot render a question and its answer, or writes no special token behind an answer.

    Args:
        template: the template.
        name: whose it is, for messages.

    Raises:
        ValueError: with the remedy.
    """
    _, found, tail = rendered_probe(template, name).rpartition(PROBE)
    if not found:
        raise ValueError(
            f"the chat template of {name} leaves out the assistant's turn: give the family a chat_template"
        )
    if not any(token and token in tail for token in template.special):
        raise ValueError(
            f"the chat template of {name} writes no end token behind the assistant's turn, so that a policy would not"
            " learn to stop: give the family a chat_template whose assistant turn ends with {{ eos_token }}, and the"
            " tokenizer an eos_token"
        )


def rendered_probe(template: Template, name: str) -> str:
    """A question and the answer `PROBE`, rendered; ValueError for a template that fails over it."""
    try:
        return template.render(_PROBED, False)
    except Exception as error:  # a template runs whatever its author wrote
        raise ValueError(f"the chat template of {name} renders no question with its answer: {_said(error)}") from error


def prompt_problem(template: Template, prompt: Turns) -> str | None:
    """What keeps a template from asking a prompt, with the remedy; None for nothing."""
    try:
        return _left_out(prompt, template.render(prompt, True))
    except Exception as error:
        return f"{_turns(prompt)}: {_said(error)}{_remedy(prompt)}"


def check_prompts(template: Template, prompts: Iterable[tuple[str, Turns]], name: str) -> None:
    """Refuse prompts that a template cannot ask.

    Args:
        template: the template.
        prompts: what each is called, and its turns.
        name: whose the template is, for messages.

    Raises:
        ValueError: naming the prompt, with the remedy.
    """
    for called, prompt in prompts:
        if problem := prompt_problem(template, prompt):
            raise ValueError(f"{called}: the chat template of {name} renders {problem}")


def answer_problem(template: Template, prompt: Turns, answer: Turns) -> tuple[str | None, str]:
    """What keeps a template from rendering a prompt with its answer so that it can be trained; None for nothing.

    Beside it what the template writes between the generation prompt and the answer, which is trained as the answer's.
    """
    try:
        asked, whole = template.render(prompt, True), template.render([*prompt, *answer], False)
    except Exception as error:
        return f"{_turns([*prompt, *answer])}: {_said(error)}{_remedy([*prompt, *answer])}", ""
    if not whole.startswith(asked):
        return (
            f"a prompt alone otherwise than with its answer ({asked[-40:]!r} is not in front of it), so that training"
            " and scoring would differ; a template that thinks may need decoding.template_arguments:"
            " {enable_thinking: false}"
        ), ""
    written, content = whole[len(asked) :], str(answer[0]["content"]).strip()
    problem = _left_out([*prompt, *answer], whole)
    if problem is None and not _holds(written, str(answer[-1]["content"])):
        problem = f"the answer not or not whole{_remedy(answer)}"
    return problem, written.partition(content)[0].strip() if content in written and content else ""


def _left_out(turns: Turns, text: str) -> str | None:
    for number, turn in enumerate(turns):
        content = str(turn["content"])
        if number + 1 < len(turns) and turn["role"] == "assistant":
            content = content.rpartition(_THOUGHT)[2]  # templates drop earlier thoughts on purpose, in scoring too
        if not _holds(text, content):
            return f"the {turn['role']} turn {number} not or not whole{_remedy([turn])}"
    return None


def _holds(text: str, content: str) -> bool:
    wanted = content.strip()
    return wanted in text or any(json.dumps(wanted, ensure_ascii=ascii_)[1:-1] in text for ascii_ in (False, True))


def _turns(turns: Turns) -> str:
    unusual = sorted({str(turn["role"]) for turn in turns} - _USUAL)
    return f"no {' and no '.join(unusual)} turn here" if unusual else f"no {', '.join(str(t['role']) for t in turns)}"


def _remedy(turns: Turns) -> str:
    unusual = sorted({str(turn["role"]) for turn in turns} - _USUAL)
    what = f"put the text of the {' and '.join(unusual)} turns into the user's" if unusual else "change the records"
    if any(_THOUGHT in str(turn["content"]) for turn in turns):
        what = "take the thoughts out of the answers"
    return f"; {what}, or give the family a chat_template that renders them"


def _said(error: BaseException) -> str:
    return " ".join(f"{error}".split()) or type(error).__name__
