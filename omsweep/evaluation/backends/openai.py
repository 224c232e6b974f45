"""The backend `openai`: an OpenAI-compatible server answers, asked for many prompts at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from omsweep.evaluation.backends.interface import Completion, Continuation, Question
from omsweep.evaluation.backends.sampling import server_seed
from omsweep.evaluation.backends.server import Server, serving
from omsweep.evaluation.backends.settings import BackendSettings, check_answerable
from omsweep.families.decoding import Decoding
from omsweep.strict_json import read_json

Asked = TypeVar("Asked")
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class OpenAI:
    """See `omsweep.evaluation.backends.interface.Backend`.

    Prompts are sent as text where the server's tokenizer reads it as scoring does, else as token ids; that it read so
    many tokens is checked where it says how many. What a completion's tokens were is not told: `token_ids` are those
    of its text.

    Attributes:
        settings: how it was started and is asked.
        server: answers.
        tokenizer: the policy's.
        decoding: what ended answers there.
        context: see the interface.
    """

    settings: BackendSettings
    server: Server
    tokenizer: Any
    decoding: Decoding
    context: int | None

    @property
    def identity(self) -> dict[str, Any]:
        """What answered, for records: backend, command, and what the server says of itself."""
        return {"name": self.settings.name, "command": self.settings.command, **self.server.version}

    def answers(
        self, questions: Sequence[Question], *, longest: int, temperature: float = 0.0, stop: Sequence[str] = ()
    ) -> list[Completion]:
        """By `/v1/completions`; ValueError names what the server refused or left out."""
        how: dict[str, Any] = {"max_tokens": longest, "temperature": temperature, "top_p": 1.0}
        if stop:
            how["stop"] = list(stop)
        texts = [one.text for one in questions]
        read = self.tokenizer(texts)["input_ids"] if texts else []
        asked = [(one, tuple(ids) == one.token_ids) for one, ids in zip(questions, read, strict=True)]

        def ask(one: tuple[Question, bool]) -> Completion:
            question, as_text = one
            drawn = {"seed": server_seed(question.draw)} if temperature and question.draw is not None else {}
            prompt = question.text if as_text else list(question.token_ids)
            return self._completion(question, self._ask({"prompt": prompt, **how, **drawn}))

        return self._each(ask, asked)

    def likelihoods(self, asked: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """By `/v1/completions` with `echo` and `logprobs`; ValueError where the server gives none."""
        check_answerable(self.settings, ["a task"] if asked else [])

        def ask(one: Continuation) -> tuple[float, bool]:
            context, continuation = one
            how = {"max_tokens": 1, "temperature": 0.0, "echo": True, "logprobs": 1}
            return _likelihood(self._ask({"prompt": [*context, *continuation], **how}), one)

        return self._each(ask, asked)

    def divergences(self, asked: Sequence[Continuation]) -> np.ndarray:
        """NaN: a server gives no logits."""
        return np.full((len(asked), 2), np.nan)

    def _ask(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self.server.ask("/v1/completions", {"model": self.server.model, **body})
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
            raise ValueError(f"the server of evaluate.backend answered without one choice: {answer!r:.500}")
        return {**choices[0], "usage": answer.get("usage") or {}}

    def _completion(self, question: Question, choice: Mapping[str, Any]) -> Completion:
        text, reason, read = choice.get("text"), choice.get("finish_reason"), choice["usage"].get("prompt_tokens")
        if not isinstance(text, str) or reason not in ("stop", "length"):
            raise ValueError(f"the server of evaluate.backend gave no whole answer: {dict(choice)!r:.500}")
        if read is not None and read != len(question.token_ids):
            raise ValueError(
                f"the server of evaluate.backend read {read} tokens where scoring reads {len(question.token_ids)}:"
                f" {question.text!r:.300}; its tokenizer adds or joins some"
            )
        ids = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        finished = reason == "stop"
        return Completion(text=text, token_ids=(*ids, self.decoding.ends[0]) if finished else ids, finished=finished)

    def _each(self, ask: Callable[[Asked], Found], asked: Sequence[Asked]) -> list[Found]:
        pool = ThreadPoolExecutor(max_workers=self.settings.requests)
        try:
            return list(pool.map(ask, asked))
        finally:
            pool.shutdown(cancel_futures=True)  # one that fails is enough


def _likelihood(choice: Mapping[str, Any], asked: Continuation) -> tuple[float, bool]:
    context, continuation = asked
    said = choice.get("logprobs") or {}
    each, likeliest = said.get("token_logprobs"), said.get("top_logprobs")
    places = slice(len(context), len(context) + len(continuation))
    if not isinstance(each, list) or not isinstance(likeliest, list) or len(each[places]) != len(continuation):
        raise ValueError(
            "the server of evaluate.backend gave no log-probabilities of a prompt: set"
            f" evaluate.backend.prompt_logprobs: false; it answered {dict(choice)!r:.300}"
        )
    greedy = all(one >= max(top.values()) for one, top in zip(each[places], likeliest[places], strict=True))
    return float(sum(each[places])), greedy


@contextmanager
def opened(settings: BackendSettings, folder: Path, tokenizer: Any, decoding: Decoding) -> Iterator[OpenAI]:
    """The backend for the model of a folder, ended on leaving; ValueError as `serving` raises."""
    context = read_json(folder / "config.json").get("max_position_embeddings")
    with serving(settings, folder, decoding=decoding) as server:
        yield OpenAI(settings=settings, server=server, tokenizer=tokenizer, decoding=decoding, context=context)
