"""Chat templates compiled by Jinja with what transformers gives them, and without transformers."""

import json
from collections.abc import Callable
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class _Generation(Extension):
    """`{% generation %}`, which marks the assistant's words and writes nothing."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's name, read from the class

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


def compiled(text: str) -> Callable[..., str]:
    """A template as a function of its variables; ValueError where the text is none."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, **{"ensure_ascii": False, **options})
    environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda _: "today"}
    try:
        render: Callable[..., Any] = environment.from_string(text).render
    except (TemplateError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise ValueError(f"{error}{f' (line {line})' if line else ''}") from error
    return render


def _refuse(message: str) -> None:
    raise TemplateError(message)
