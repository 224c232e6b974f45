"""What MLflow takes as a key, a tag or a param, and as Markdown: names and texts of any kind, made to fit."""

import hashlib
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from omsweep.redaction import redacted, visible

LONGEST_PARAM, LONGEST_TAG = 6000, 8000


def tags_of(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as they are written, without secrets; those that are None are left out."""
    return {key_of(key): cut(clean(value), LONGEST_TAG) for key, value in tags.items() if value is not None}


def key_of(name: str) -> str:
    """`name` where MLflow takes it as a key, else what is left of it and a hash: two names never share a key.

    Letters of any script are taken; no other signs than these, no path-like keys, and 250 characters at most.
    """
    allowed = re.fullmatch(r"[\w. :/-]{1,250}", name) and posixpath.normpath(name) == name and name[0] not in "/."
    if allowed:
        return name
    left = re.sub(r"[^\w. :-]", "_", name)[:200].strip(" .")
    return f"{left}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def clean(value: Any) -> str:
    """A value as text, without secrets and with nothing in it that a terminal obeys."""
    return visible(redacted(str(value)), lines=True)


def cut(text: str, longest: int) -> str:
    """`text`, or its beginning and a note of how long it was."""
    note = f" [cut: {len(text)} characters]"
    return text if len(text) <= longest else text[: longest - len(note)] + note


def escaped(text: Any) -> str:
    """A text of any origin on one line of Markdown: no markup, HTML or link comes of it."""
    plain = " ".join(clean(text).split())
    return re.sub(r"([\\`*_{}\[\]()#+!|~>-])", r"\\\1", plain.replace("&", "&amp;").replace("<", "&lt;"))
