"""The terminal as everything writes to it."""

import sys
from collections.abc import Iterable
from typing import Any

import rich.console
from rich.segment import Segment

from omsweep.redaction import visible


class Console(rich.console.Console):
    """rich's, in which text is never obeyed: names and messages of others may hold escape sequences.

    Colours and cursor movements of rich's own are no text. Markup in square brackets is the caller's to escape.
    """

    def render(self, renderable: Any, options: rich.console.ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is printed, with control characters spelt out."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control or text.isprintable() or text == "\n":
                yield segment
            else:
                yield Segment(visible(text, lines=True), style)


def say(text: str, *, end: str = "\n", error: bool = False) -> None:
    """Write text, as it is read, to standard output or standard error."""
    stream = sys.stderr if error else sys.stdout
    stream.write(visible(text, lines=True) + end)
    stream.flush()
