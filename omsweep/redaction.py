"""Text that may be kept and shown to everyone: without secrets, and with nothing in it that a terminal obeys."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

SECRET_KEY = re.compile(
    r"pass|pwd|token|secret|credential|(?<!viewStateShare)key|signature|(?<![a-z])sig(?![a-z])", re.IGNORECASE
)
"""Names of query parameters whose values are secret; `viewStateShareKey` is the name of a view in MLflow."""
SECRET_VARIABLE = re.compile(r"(TOKEN|PASSWORD|PASSWD|SECRET|(API|ACCESS|STORAGE|ACCOUNT)_KEY)$")
"""Names of environment variables whose values are secret, beside those that a search space names."""
SHORTEST = 8
"""Characters: a shorter value is part of too many words to be cut out of text."""
NAMED_USER = re.compile(r"\b(postgres(ql)?|mysql|mariadb|mssql|oracle|abfss?|wasbs?|hdfs|ssh|sftp)(\+\w+)?://$")
"""Schemes in which what stands alone before the `@` is a user or a container; elsewhere it may be a token."""
MLFLOW_WAY = (
    "for a server set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment of the process that runs"
    " the sweep (on a cluster: of the head node), for PostgreSQL PGPASSWORD there, for another database put an MLflow"
    " server before it"
)
DASHBOARD_WAY = "give a token in ~/.ray/auth_token or RAY_AUTH_TOKEN"
STORE_WAY = (
    "an object store takes them from its cloud's own variables (such as AWS_ACCESS_KEY_ID, AZURE_STORAGE_ACCOUNT_KEY,"
    " GOOGLE_APPLICATION_CREDENTIALS) or the node's role"
)
OTHER_WAY = (
    "bring the file to a folder that all nodes share and give its path, or name a hub id and its token (HF_TOKEN) under"
    " `secrets:` in the search space file"
)
WAYS = {
    "--tracking-uri": MLFLOW_WAY,
    **dict.fromkeys(("--address", "RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"), DASHBOARD_WAY),
    "--storage": STORE_WAY,
}
"""What to do in place of a URI that holds a secret, by where it was given; elsewhere by its scheme."""
_STORES = re.compile(r"\b(s3a?|gs|gcs|az|azure|abfss?|adl|wasbs?|r2|oci)://")
_USER = re.compile(r"(?<=://)(?P<user>[^\s/?#@:'\"]*:(?!\d*[/?#])[^\s'\"]*|[^\s/?#'\"]*)@")
"""A password may hold an unquoted `/`, `?` or `#`, although it should not: after a `:`, unless that begins a port."""
_PARAMETER = re.compile(r"(?P<name>[?&;#][\w.%-]+=)[^\s&;#'\"<>)\]]+")
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys or a reader is misled by: control characters but tab and newline, and marks of direction."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_registered: set[str] = set()


def redacted(text: str) -> str:
    """`text` as `without_credentials`, and with `***` for every secret that this process knows."""
    return without_values(without_credentials(text))


def without_credentials(text: str) -> str:
    """`text` without user and password in any `scheme://user:password@host`, and with `?token=...` as `?token=***`."""
    return _PARAMETER.sub(_hidden, _USER.sub(_anonymous, text))


def without_values(text: str) -> str:
    """`text` with `***` for the values that were registered and those of variables like `HF_TOKEN`, quoted or not."""
    for value in sorted(_known(), key=len, reverse=True):
        for written in (value, quote(value, safe=""), json.dumps(value)[1:-1], repr(value)[1:-1]):
            text = text.replace(written, "***")
    return text


def register(value: str) -> None:
    """Have a secret cut out of text in this process, if it is not shorter than `SHORTEST`."""
    if len(value) >= SHORTEST:
        _registered.add(value)


def refuse_secrets(where: str, given: Any) -> None:
    """Refuse user, password or key in a URI, anywhere in what was given: command lines, settings and logs are shown.

    Args:
        where: names what was given: an option, or a key path whose entries are looked at.
        given: text or plain data.

    Raises:
        ValueError: naming the place and the way to give it, never the secret.
    """
    for place, text in _texts(where, given):
        if "://" in text and without_credentials(text) != text:
            store = STORE_WAY if _STORES.search(text) else OTHER_WAY
            way = WAYS.get(where, store)
            raise ValueError(f"{place} must not hold a user name, password or key, which others can see; {way}")


def visible(text: str, *, lines: bool = False) -> str:
    """`text` without colours, and with `\\u001b` for an escape character, and so on: read, not obeyed; JSON stays JSON.

    Args:
        text: of others.
        lines: whether it may have several; else they and tabs become spaces.
    """
    text = _COLOUR.sub("", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n") if lines else re.sub(r"[\t\r\n]+", " ", text)
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _known() -> set[str]:
    named = (value for name, value in os.environ.items() if SECRET_VARIABLE.search(name))
    return _registered | {value for value in named if len(value) >= SHORTEST}


def _texts(where: str, given: Any) -> Iterator[tuple[str, str]]:
    """Every text in plain data with its key path, keys too."""
    if isinstance(given, str):
        yield where, given
    elif isinstance(given, Mapping):
        for key, value in given.items():
            yield where or "a key", str(key)
            yield from _texts(f"{where}.{key}".strip("."), value)
    elif isinstance(given, list | tuple):
        for number, value in enumerate(given):
            yield from _texts(f"{where}.{number}".strip("."), value)


def _anonymous(found: re.Match[str]) -> str:
    scheme = found.string[max(0, found.start() - 20) : found.start()]
    return found[0] if ":" not in found["user"] and NAMED_USER.search(scheme) else ""


def _hidden(found: re.Match[str]) -> str:
    return found["name"] + "***" if SECRET_KEY.search(found["name"]) else found[0]
