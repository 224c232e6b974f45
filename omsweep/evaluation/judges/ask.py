"""Questions to a judge: what was answered before is read, the rest is asked, many at a time, within the limits."""

import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from omsweep.evaluation.judges.endpoint import Endpoint, NoAnswer
from omsweep.evaluation.judges.replies import Replies, replies_folder, request_key
from omsweep.evaluation.judges.settings import JudgeSettings
from omsweep.evaluation.judges.verdicts import FORMS, Reply

TRIES = 3
"""Replies without a verdict after which a question has none."""
MOST_UNJUDGED = 0.1
"""Share of questions without a verdict above which what is known says too little."""


class LimitReached(ValueError):
    """A judge may be asked no more."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a question led to: its value, or why there is none."""

    value: float | None = None
    problem: str | None = None


def key_of(judge: JudgeSettings) -> str | None:
    """The judge's key; ValueError naming the variable where this process does not have it."""
    if judge.key is None:
        return None
    if not (found := os.environ.get(judge.key, "").strip()):
        raise ValueError(
            f"judge.key: the environment of this process has no {judge.key}: set it, or say under `secrets:` in the"
            f" search space where it is, {{{judge.key}: env}} or {{{judge.key}: 'file:/PATH'}}"
        )
    return found


def ask(judge: JudgeSettings, bodies: Sequence[Mapping[str, Any]], *, first_wait: float = 1.0) -> list[list[Verdict]]:
    """`judge.repeats` verdicts for each request; equal requests are asked once.

    Raises:
        JudgeIsSilent: the address is dead; what it answered is kept.
        LimitReached: `max_calls` or `max_cost`; what was answered is kept.
        ValueError: no key, an address that refuses all calls, or too many questions without a verdict.
    """
    replies = Replies(replies_folder(judge.url, judge.model))
    replies.refresh()
    endpoint = Endpoint(
        judge.url,
        key=key_of(judge),
        timeout=judge.timeout,
        patience=judge.patience,
        per_minute=judge.requests_per_minute,
        first_wait=first_wait,
    )
    asker = _Asker(judge, endpoint, replies)
    places = [[(request_key(body, repeat=repeat), repeat) for repeat in range(judge.repeats)] for body in bodies]
    todo = {key: (bodies[number], repeat) for number, row in enumerate(places) for key, repeat in row}
    found: dict[str, Verdict] = {}
    pool = ThreadPoolExecutor(judge.concurrency, thread_name_prefix="judge")
    try:
        waiting: dict[Future[Verdict], str] = {pool.submit(asker.verdict, *one): key for key, one in todo.items()}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
    finally:
        endpoint.close()
        pool.shutdown(cancel_futures=True)
    _check_enough(judge, found)
    return [[found[key] for key, _ in row] for row in places]


class _Asker:
    def __init__(self, judge: JudgeSettings, endpoint: Endpoint, replies: Replies) -> None:
        self._judge, self._endpoint, self._replies = judge, endpoint, replies
        self._lock, self._in_flight = threading.Lock(), 0

    def verdict(self, body: Mapping[str, Any], repeat: int) -> Verdict:
        """The first reply that holds a verdict, from before or now."""
        problem = ""
        for attempt in range(TRIES):
            key = request_key(body, repeat=repeat, attempt=attempt)
            known = self._replies.get(key)
            try:
                reply = self._asked(key, body) if known is None else known
            except NoAnswer as error:
                return Verdict(problem=str(error))
            value = FORMS[self._judge.form].read(Reply(text=reply["text"], first_token=reply.get("first_token")))
            if value is not None:
                return Verdict(value=value)
            problem = f"no verdict in {reply['text'][-120:]!r}"
        return Verdict(problem=problem)

    def _asked(self, key: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self._check_limits()
        try:
            completion = self._endpoint.ask(body)
            return self._replies.put(key, _reply(completion))
        finally:
            with self._lock:
                self._in_flight -= 1

    def _check_limits(self) -> None:
        judge = self._judge
        with self._lock:
            calls, cost = self._replies.used(judge.price_in, judge.price_out)
            if judge.max_calls is not None and calls + self._in_flight >= judge.max_calls:
                raise LimitReached(f"judge.max_calls is {judge.max_calls}, and {calls} were made: raise it to go on")
            if judge.max_cost is not None and cost >= judge.max_cost:
                raise LimitReached(f"judge.max_cost is {judge.max_cost:g}, and {cost:.4g} was spent: raise it to go on")
            self._in_flight += 1


def _reply(completion: Mapping[str, Any]) -> dict[str, Any]:
    choice, usage = completion["choices"][0], completion.get("usage") or {}
    reply = {"text": choice["message"].get("content") or "", "asked": round(time.time(), 3)}
    reply |= {"tokens_in": _count(usage, "prompt_tokens"), "tokens_out": _count(usage, "completion_tokens")}
    told = (choice.get("logprobs") or {}).get("content") if isinstance(choice.get("logprobs"), dict) else None
    if isinstance(told, list) and told and isinstance(told[0], dict):
        reply["first_token"] = _probabilities(told[0])
    return reply


def _probabilities(token: Mapping[str, Any]) -> dict[str, float]:
    """Of the first token; two spellings of one, such as with a blank, are added up by who reads them."""
    found: dict[str, float] = {}
    for one in token.get("top_logprobs") or [token]:
        name, logarithm = one.get("token"), one.get("logprob")
        if isinstance(name, str) and isinstance(logarithm, int | float) and logarithm <= 0:
            found[name] = math.exp(logarithm)
    return found


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and value >= 0 else 0


def _check_enough(judge: JudgeSettings, found: Mapping[str, Verdict]) -> None:
    without = [one.problem for one in found.values() if one.problem is not None]
    if len(without) > MOST_UNJUDGED * len(found):
        raise ValueError(
            f"judge {judge.model} at {judge.url} gave no verdict on {len(without)} of {len(found)} questions,"
            f" for example: {without[0]}"
        )
