"""Text that may be kept and shown to everyone: without the secrets that addresses in it hold."""

import re

SECRET_KEY = re.compile(r"pass|pwd|token|secret|credential|key|signature", re.IGNORECASE)
"""Names of query parameters whose values are secret."""
_USER = re.compile(r"(?<=://)(?:[^\s/?#@:]*:(?!\d*[/?#])[^\s'\"]*|[^\s/?#]*)@")
"""A password may hold an unquoted `/`, `?` or `#`, although it should not: after a `:`, unless that begins a port."""
_PARAMETER = re.compile(r"(?P<name>[?&;][\w.%-]+=)[^\s&;#'\"<>)\]]+")


def redacted(text: str) -> str:
    """`text` without user and password in any `scheme://user:password@host`, and with `?token=...` as `?token=***`."""
    return _PARAMETER.sub(_hidden, _USER.sub("", text))


def _hidden(found: re.Match[str]) -> str:
    return found["name"] + "***" if SECRET_KEY.search(found["name"]) else found[0]
