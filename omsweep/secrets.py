"""Secrets of a sweep: a search space says where a process finds each one, and only that is passed on or kept."""

import logging
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from omsweep.redaction import redacted, register, visible

ENV, FILE = "env", "file:"
ALLOWED = (
    "env, where the environment of every process that needs it has it, or file:/PATH, a file on every node that"
    " needs it"
)
SOURCE = r"^(env|file:[/~].+)$"
Given = ParamSpec("Given")
Result = TypeVar("Result")


def take(secrets: Mapping[str, str], node: str) -> None:
    """Put secrets into this process's environment, and have them cut out of whatever is `redacted` here.

    Args:
        secrets: by name of the variable, `env` or `file:PATH`.
        node: what this process is, for the message.

    Raises:
        ValueError: one is missing.
    """
    for name, source in secrets.items():
        os.environ[name] = value = _value(name, source, node)
        register(value)


def _value(name: str, source: str, node: str) -> str:
    path = Path(source.removeprefix(FILE)).expanduser()
    try:
        value = os.environ.get(name, "") if source == ENV else path.read_text(encoding="utf-8").strip()
        problem = "its environment does not have it" if source == ENV else f"{path} is empty"
    except (OSError, ValueError) as error:
        value, problem = "", f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
    if not value:
        at = f"{node} on {socket.gethostname()}"
        raise ValueError(f"secret {name} is missing for {at}: {problem}; secrets.{name} must be {ALLOWED}")
    return value


def holding(function: Callable[Given, Result], secrets: Mapping[str, str], node: str) -> Callable[Given, Result]:
    """`function` for another process: it takes the secrets there first, and prints, logs and raises none."""

    @wraps(function, updated=())
    def with_secrets(*given: Given.args, **named: Given.kwargs) -> Result:
        guard(spelt_out=True)
        take(secrets, node)
        with clean_errors():
            return function(*given, **named)

    return with_secrets


@contextmanager
def clean_errors() -> Iterator[None]:
    """Whatever is raised inside leaves without secrets, as the same error: Ray keeps errors in files of its own."""
    try:
        yield
    except Exception as error:
        found = cleaned(error)
        if found is not error:  # not `from` it, which would keep what it says
            raise found.with_traceback(error.__traceback__) from None
        raise


def cleaned(error: Exception) -> Exception:
    """The error itself, changed to say no secret, it and what it came from; another one where it cannot be changed."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    for one in chain:
        one.args = tuple(redacted(said) if isinstance(said, str) else said for said in one.args)
        said = {name: value for name, value in vars(one).items() if isinstance(value, str)}
        said |= {name: value for name in _OF_THE_SYSTEM if isinstance(value := getattr(one, name, None), str)}
        for name, value in said.items():
            if redacted(value) != value:
                setattr(one, name, redacted(value))
    texts = ["".join(traceback.format_exception_only(one)) for one in chain]
    return error if all(redacted(text) == text for text in texts) else RuntimeError(redacted(texts[0]).strip())


_OF_THE_SYSTEM = ("strerror", "filename", "filename2")
"""What an OSError says, which it keeps outside of its `vars`."""


def guard(*, spelt_out: bool = False) -> None:
    """Let this process print and log no secret from now on.

    Args:
        spelt_out: nothing that a terminal obeys either: Ray shows what its workers print in the driver's terminal.
    """
    for name in ("stdout", "stderr"):
        if not isinstance(stream := getattr(sys, name), _Clean):
            setattr(sys, name, _Clean(stream, spelt_out))
    if not getattr(logging.getLogRecordFactory(), "is_clean", False):
        logging.setLogRecordFactory(_clean_records(logging.getLogRecordFactory()))


class _Clean:
    """A stream that is written to without secrets."""

    def __init__(self, stream: Any, spelt_out: bool) -> None:
        self._stream, self._spelt_out = stream, spelt_out

    def write(self, text: str) -> int:
        clean = redacted(text)
        self._stream.write(visible(clean, lines=True) if self._spelt_out else clean)
        return len(text)

    def writelines(self, texts: Any) -> None:
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a copy that is being unpickled has no stream yet
            raise AttributeError(name)
        return getattr(self._stream, name)


def _clean_records(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    def made(*given: Any, **named: Any) -> logging.LogRecord:
        record = make(*given, **named)
        try:
            text = record.getMessage()
        except Exception:  # the handler says what is wrong with its arguments
            return record
        if (clean := redacted(text)) != text:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[1] is not None:
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = clean if (clean := redacted(text)) != text else None  # formatters take what is there
        return record

    made.is_clean = True  # type: ignore[attr-defined]
    return made
