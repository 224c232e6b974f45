"""Errors of other libraries: which of them the user can mend, and how they are said and kept."""

import errno
import opcode
import os
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from omsweep.redaction import redacted

ABOUT_INPUT = ("datasets", "httpx", "huggingface_hub", "jinja2", "requests", "safetensors", "yaml")
"""Libraries whose own kinds of errors are about a file, a text or an address that the user gave."""
MENDABLE = frozenset(
    {
        *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP),
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    }
)
"""Numbers of the system's refusals that name a place which can be made, freed or chosen otherwise."""
LONGEST_REASON = 500
"""Characters of a library's message that are passed on."""
_RAISE = opcode.opmap["RAISE_VARARGS"]


class Refused(ValueError):
    """Something that the user can mend, as another process said it."""


def refusal(error: BaseException) -> str | None:
    """What the user is told of an error that is theirs to mend; None of one that nobody foresaw.

    That is what omsweep refused itself, what a library of `ABOUT_INPUT` has a kind of error for, and what the system
    refused for a reason in `MENDABLE`. A ValueError that comes out of numpy or of a conversion here is a mistake of
    ours, whatever its kind.
    """
    if isinstance(error, OSError) and error.errno in MENDABLE:
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    if isinstance(error, ValueError | OSError) and _is_ours(error):
        return str(error)
    return error_line(error) if type(error).__module__.partition(".")[0] in ABOUT_INPUT else None


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Whatever a library raises inside becomes `cannot <what>: <kind>: <message>`; what omsweep refuses stays.

    For calls that only read what the user gave, such as a model's folder or a template. A lack of memory stays what it
    is: it says nothing of what was read.

    Raises:
        ValueError: see above.
    """
    try:
        yield
    except Exception as error:
        if (isinstance(error, ValueError) and _is_ours(error)) or _lacks_memory(error):
            raise
        raise ValueError(f"cannot {what}: {error_line(error):.{LONGEST_REASON}}") from error


def _lacks_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's own


def error_line(error: BaseException) -> str:
    """What went wrong, in one line without secrets: type and message; of a Ray task what was raised in it."""
    cause = getattr(error, "cause", None)
    root = cause if isinstance(cause, BaseException) else error
    return redacted(" ".join("".join(traceback.format_exception_only(root)).split()))


def keep_traceback(error: BaseException) -> str:
    """Write an error's traceback to a new file, without secrets; its path."""
    handle, path = tempfile.mkstemp(prefix="omsweep-error-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(redacted("".join(traceback.format_exception(error))))
    return path


def _is_ours(error: BaseException) -> bool:
    """Whether a `raise` in omsweep made this error, not a call out of omsweep."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or last.tb_frame.f_globals.get("__name__", "").partition(".")[0] != "omsweep":
        return False
    return last.tb_frame.f_code.co_code[last.tb_lasti] == _RAISE
