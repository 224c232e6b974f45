"""Who answers, as plain frozen settings; imports nothing heavy."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

BACKENDS = ("transformers", "openai")
"""`transformers`: a model in the process that scores; `openai`: an OpenAI-compatible server that it starts."""

PLACES = ("{model}", "{port}")
"""What stands in a command for the policy's folder and for the port to answer at."""


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """Who answers tax items and reward prompts; everything beside `name` belongs to `openai`.

    Args:
        name: one of `BACKENDS`.
        command: starts a server; with `{model}` and `{port}`. It is split as a shell would, and run without one.
        ready_seconds: how long the server may take until it answers.
        requests: how many are asked at a time.
        prompt_logprobs: whether the server gives log-probabilities of a prompt's own tokens (`echo` with `logprobs`),
            as vLLM does: tasks of multiple choice need them.

    Raises:
        ValueError: naming field, value and what is allowed.
    """

    name: str = "transformers"
    command: str | None = None
    ready_seconds: float = 600.0
    requests: int = 32
    prompt_logprobs: bool = False

    def __post_init__(self) -> None:
        if self.name not in BACKENDS:
            raise ValueError(f"backend.name must be one of {', '.join(BACKENDS)}, got {self.name!r}")
        own = [one.name for one in fields(self) if one.name != "name" and getattr(self, one.name) != one.default]
        if self.name == "transformers" and own:
            raise ValueError(f"backend.{own[0]} belongs to backend 'openai', got backend 'transformers'")
        if self.name == "openai" and not self.command:
            raise ValueError(
                "backend.command must start a server, such as 'vllm serve {model} --port {port}', got none"
            )
        if self.command is not None:
            _check_command(self.command)
        if not _is_number(self.ready_seconds) or not 0 < self.ready_seconds < float("inf"):
            raise ValueError(f"backend.ready_seconds must be above 0, got {self.ready_seconds!r}")
        if not isinstance(self.requests, int) or not _is_number(self.requests) or self.requests < 1:
            raise ValueError(f"backend.requests must be a whole number of at least 1, got {self.requests!r}")
        if not isinstance(self.prompt_logprobs, bool):
            raise ValueError(f"backend.prompt_logprobs must be true or false, got {self.prompt_logprobs!r}")

    @property
    def serves(self) -> bool:
        """Whether a server answers, which gives no logits."""
        return self.name != "transformers"

    def argv(self, model: str, port: int) -> list[str]:
        """The command's words."""
        words = shlex.split(self.command or "")
        return [word.replace("{model}", model).replace("{port}", str(port)) for word in words]

    def recipe(self) -> dict[str, Any]:
        """What fixes the answers, for keys of the cache; empty for `transformers`."""
        return {"backend": {"name": self.name, "command": self.command}} if self.serves else {}


def backend_from(value: BackendSettings | str | Mapping[str, Any]) -> BackendSettings:
    """A backend's name, or a mapping of `BackendSettings` fields, as settings."""
    if isinstance(value, BackendSettings):
        return value
    if isinstance(value, str):
        return BackendSettings(name=value)
    if not isinstance(value, Mapping):
        raise ValueError(f"evaluate.backend must be one of {', '.join(BACKENDS)} or a mapping, got {value!r}")
    allowed = list(asdict(BackendSettings()))
    unknown = sorted(str(key) for key in value if key not in allowed)
    if unknown:
        raise ValueError(f"evaluate.backend takes {allowed}, got unknown {unknown}")
    return BackendSettings(**value)


def check_answerable(backend: BackendSettings, likelihoods: Sequence[str]) -> None:
    """ValueError where a backend cannot score tasks by log-likelihoods.

    Args:
        backend: who answers.
        likelihoods: names of the tasks that are scored so.
    """
    if likelihoods and backend.serves and not backend.prompt_logprobs:
        raise ValueError(
            f"backend {backend.name!r} gives no log-likelihoods, by which {', '.join(likelihoods[:5])} of the tax suite"
            " are scored: set backend.prompt_logprobs: true where the server has them (echo with logprobs), set"
            " backend: transformers, or give a suite whose tasks are answered"
        )


def _check_command(command: Any) -> None:
    try:
        words = shlex.split(command)
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"backend.command must be a command line, got {command!r}: {error}") from None
    missing = [place for place in PLACES if not any(place in word for word in words)]
    if missing:
        raise ValueError(f"backend.command must hold {' and '.join(PLACES)}; {missing[0]} is missing in {command!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
