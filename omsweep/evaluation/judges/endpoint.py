"""An OpenAI-compatible address: one call at a time is made, tried again, slowed down, or given up in one sentence."""

import json
import logging
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from omsweep.foreign import error_line
from omsweep.redaction import redacted, visible

ATTEMPTS = 6
"""Failures of one call, while others are answered, after which it is given up."""
PROBING = 3
"""Failures in a row from which on only one call at a time tries whether the address answers again."""
LONGEST_WAIT = 60.0
LONGEST_REPLY = 20_000_000
"""Bytes: what is longer is no reply."""
CONNECTING = 10.0
TOO_MANY = 429
AGAIN = (408, 409, 425, TOO_MANY)
REFUSED = {
    401: "refuses the key",
    402: "wants to be paid first",
    403: "refuses the key or the model",
    404: "has no such model or path",
    405: "has no such path",
}

logger = logging.getLogger(__name__)


class NoAnswer(Exception):
    """One call has no answer, and would have none again; others may."""


class JudgeIsSilent(ValueError):
    """The address has not answered any call for too long."""


@dataclass(frozen=True, kw_only=True)
class _Trouble:
    """Why a call is to be made again, in how many seconds if that was said, and whether the call itself may be why."""

    reason: str
    after: float | None = None
    its_own: bool = True


class Endpoint:
    """`/chat/completions` at an address; many threads may ask at once.

    Args:
        url: the address before `/chat/completions`.
        key: sent as a bearer token, None: none is.
        timeout: seconds until a reply has to be there as a whole.
        patience: seconds without any answer after which `JudgeIsSilent` is raised.
        per_minute: most calls, None: any number.
        first_wait: seconds before the second attempt; twice as many before each further one, up to `LONGEST_WAIT`.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: float = 120.0,
        patience: float = 1800.0,
        per_minute: float | None = None,
        first_wait: float = 1.0,
    ) -> None:
        self.url = f"{url.rstrip('/')}/chat/completions"
        self._key, self._timeout, self._patience, self._first_wait = key, timeout, patience, first_wait
        self._interval = 0.0 if per_minute is None else 60.0 / per_minute
        self._changed = threading.Condition()
        self._next_slot = self._not_before = 0.0
        self._failures = self._asking = self._answers = 0
        self._last_answer: float | None = None
        self._closed = False
        self._session = requests.Session()

    def close(self) -> None:
        """Make no further call: threads that wait give up."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def ask(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The completion object of the answer.

        Raises:
            NoAnswer: this call has none: refused for what it asks, or failing while others are answered.
            JudgeIsSilent: no call had one for `patience` seconds.
            ValueError: the address refuses all calls, such as for a wrong key.
        """
        failed, others = 0, self._answers
        while True:
            self._wait_for_turn()
            try:
                found = self._post(body)
            except BaseException:
                self._left(answered=False)
                raise
            if not isinstance(found, _Trouble):
                self._left(answered=True)
                if isinstance(found, str):
                    raise NoAnswer(found)
                return found
            failed += found.its_own
            self._troubled(found)
            if failed >= ATTEMPTS and self._answers > others:
                raise NoAnswer(f"{found.reason}, {failed} times while other calls were answered")

    def _wait_for_turn(self) -> None:
        with self._changed:
            self._last_answer = time.monotonic() if self._last_answer is None else self._last_answer
            while not self._closed:
                wait = max(self._not_before, self._next_slot) - time.monotonic()
                if wait <= 0 and not (self._failures >= PROBING and self._asking):
                    break
                self._changed.wait(wait if wait > 0 else 1.0)
            if self._closed:
                raise NoAnswer("the judge is no longer asked")
            self._next_slot = max(time.monotonic(), self._next_slot) + self._interval
            self._asking += 1

    def _left(self, *, answered: bool) -> None:
        with self._changed:
            self._asking -= 1
            if answered:
                if self._failures >= PROBING:
                    logger.warning("the judge at %s answers again", self.url)
                self._failures, self._last_answer, self._answers = 0, time.monotonic(), self._answers + 1
            self._changed.notify_all()

    def _troubled(self, trouble: _Trouble) -> None:
        """Have all calls wait; raises where the address has been silent for too long, or asks to wait longer."""
        self._left(answered=False)
        with self._changed:
            now = time.monotonic()
            self._failures += 1
            wait = min(self._first_wait * 2 ** min(self._failures - 1, 20), LONGEST_WAIT) * (0.75 + random.random() / 2)
            wait = wait if trouble.after is None else max(trouble.after, self._first_wait / 10)
            silent = now - (self._last_answer or now)
            if silent + wait > self._patience:
                raise JudgeIsSilent(
                    f"the judge at {self.url} has given no answer for {silent:.0f} s ({trouble.reason}) and is given up"
                    f" after {self._patience:g} s (judge.patience). Its verdicts so far are kept: only the others are"
                    " asked for when the trial is scored again (`omsweep retry`)"
                )
            self._not_before = max(self._not_before, now + wait)
            if self._failures == PROBING:
                left = self._patience - silent
                logger.warning(
                    "the judge at %s is paused (%s): it is tried for up to %.0f s", self.url, trouble.reason, left
                )

    def _post(self, body: Mapping[str, Any]) -> Mapping[str, Any] | str | _Trouble:
        """The answer, why there is none for this call, or why it is to be made again."""
        try:
            response, content = self._sent(body)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            return _Trouble(reason=_brief(error_line(error)))
        except requests.RequestException as error:
            raise ValueError(f"the judge cannot be asked at {self.url}: {error_line(error)}") from None
        status, said = response.status_code, _brief(content.decode("utf-8", "replace"))
        if status == 200:
            return _completion(content) or _Trouble(reason=f"no chat completion: {said}")
        if status in AGAIN or status >= 500:
            after = _retry_after(response.headers)
            return _Trouble(reason=f"HTTP {status}: {said}", after=after, its_own=status != TOO_MANY)
        if status in REFUSED:
            raise ValueError(f"the judge at {self.url} {REFUSED[status]} (HTTP {status}): {said}")
        if 300 <= status < 400:
            raise ValueError(f"the judge at {self.url} is elsewhere (HTTP {status}): give the address itself")
        return f"HTTP {status}: {said}"

    def _sent(self, body: Mapping[str, Any]) -> tuple[requests.Response, bytes]:
        until, parts, size = time.monotonic() + self._timeout, [], 0
        with self._session.post(
            self.url,
            json=body,
            auth=self._authorised,  # else a .netrc would be asked for another key
            timeout=(min(CONNECTING, self._timeout), self._timeout),
            allow_redirects=False,
            stream=True,
        ) as response:
            for part in response.iter_content(65536):
                parts.append(part)
                size += len(part)
                if time.monotonic() > until or size > LONGEST_REPLY:
                    raise requests.Timeout(f"the reply goes on after {self._timeout:g} s or {LONGEST_REPLY} bytes")
            return response, b"".join(parts)

    def _authorised(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _completion(content: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(content.decode("utf-8", "replace"))
        message = found["choices"][0]["message"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return found if isinstance(message, dict) and isinstance(message.get("content"), str | None) else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an address asks to wait, in a number or a date."""
    told = headers.get("Retry-After", "").strip()
    try:
        return float(told) if 0 <= float(told) < float("inf") else None
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None


def _brief(text: str) -> str:
    return visible(redacted(text))[:200]
