"""What a judge is asked: a template, rendered with a chat and its answers, as the body of a request.

A template is text in Jinja, of a part after a line `[system]`, which may be left out, and one after a line `[user]`. It
is given `earlier` (turns before the last question, each with `role` and `content`), `question`, `reference` (a correct
answer, or empty), and `first` and `second`, or `answer`.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from omsweep.evaluation.judges.settings import JudgeSettings
from omsweep.evaluation.judges.verdicts import FORMS
from omsweep.foreign import calling

Chat = Sequence[Mapping[str, str]]
LIKELIEST = 10
"""Tokens whose probabilities are asked for, where the verdict is one."""
_PARTS = re.compile(r"^\[(system|user)\][ \t]*\n", re.MULTILINE)


def comparison(judge: JudgeSettings, chat: Chat, first: str, second: str, reference: str = "") -> dict[str, Any]:
    """The body of a request for a verdict on two answers in this order."""
    return _body(judge, chat, {"first": shown(first, judge), "second": shown(second, judge), "reference": reference})


def grading(judge: JudgeSettings, chat: Chat, answer: str, reference: str = "") -> dict[str, Any]:
    """The body of a request for a grade."""
    return _body(judge, chat, {"answer": shown(answer, judge), "reference": reference})


def shown(answer: str, judge: JudgeSettings) -> str:
    """An answer as a judge sees it: half characters replaced, and what is too long without its middle."""
    answer = answer.encode("utf-8", "replace").decode()
    over = len(answer) - judge.longest_answer
    if over <= 0:
        return answer
    head, tail = judge.longest_answer - judge.longest_answer // 3, judge.longest_answer // 3
    return f"{answer[:head]}\n[... {over} characters left out ...]\n{answer[len(answer) - tail :]}"


def template_of(file: Path) -> list[tuple[str, Any]]:
    """Role and template of each part of a file; ValueError where it is no template, or has no part of the user."""
    return _read(file, file.read_bytes())


@lru_cache(maxsize=16)
def _read(file: Path, content: bytes) -> list[tuple[str, Any]]:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    with calling(f"read the judge's template {file}"):
        _, *parts = _PARTS.split(content.decode("utf-8"))
        environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False)
        found = [(role, environment.from_string(text)) for role, text in zip(parts[::2], parts[1::2], strict=True)]
    if [role for role, _ in found] not in (["user"], ["system", "user"]):
        raise ValueError(f"{file}: a judge's template needs a line [user], and before it may have one [system]")
    return found


def _body(judge: JudgeSettings, chat: Chat, answers: Mapping[str, str]) -> dict[str, Any]:
    form = FORMS[judge.form]
    values = {"earlier": list(chat[:-1]), "question": chat[-1]["content"], **answers}
    with calling(f"render the judge's template {judge.template_file}"):
        messages = [
            {"role": role, "content": text.render(values).encode("utf-8", "replace").decode().strip()}
            for role, text in template_of(judge.template_file)
        ]
    asked = {"model": judge.model, "messages": messages, "temperature": judge.temperature}
    asked["max_tokens"] = judge.max_tokens or form.tokens
    return asked | ({"logprobs": True, "top_logprobs": LIKELIEST} if form.probabilities else {})
