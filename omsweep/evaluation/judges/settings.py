"""Which judge is asked, how, and within which limits; plain settings, Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from omsweep.evaluation.judges.verdicts import FORMS
from omsweep.redaction import refuse_secrets

TEMPLATES = Path(__file__).parent / "templates"
SFT = "sft"
"""`against` the SFT model's own answers to the same prompts."""

SAYS = ("url", "model", "form", "samples", "repeats", "temperature", "max_tokens", "longest_answer")
"""Settings, beside the files, that verdicts depend on; the others say how they are got."""


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """A judge behind an OpenAI-compatible address.

    Args:
        url: the address that `/chat/completions` is appended to, such as `https://judge.example/v1`.
        model: its name there.
        form: a name in `FORMS`.
        key: name of the environment variable with the key, which `secrets:` fills; None: no key is sent.
        against: what answers are compared with: `sft`, or a JSONL file with lines `{"id" or "prompt", "answer"}`; of a
            form that compares.
        template: file with the judge's prompt, in place of the form's own.
        samples: answers judged for each prompt, the first of those drawn.
        repeats: verdicts for each question; from 2 on the judge's own noise is known.
        temperature: of the judge.
        max_tokens: longest reply; None: as the form needs.
        concurrency: questions in flight.
        requests_per_minute: None: as many as are answered.
        timeout: seconds until a reply has to be there.
        patience: seconds without any reply after which a judge counts as dead.
        max_calls: calls that may be made for all trials together, None: any number.
        max_cost: what they may cost, at the two prices.
        price_in, price_out: of a million tokens of questions and of replies.
        longest_answer: characters of an answer that are shown; what is longer loses its middle.

    Raises:
        ValueError: naming field, value and what is allowed.
    """

    url: str
    model: str
    form: str = "pairwise"
    key: str | None = None
    against: str = SFT
    template: str | None = None
    samples: int = 1
    repeats: int = 1
    temperature: float = 0.0
    max_tokens: int | None = None
    concurrency: int = 8
    requests_per_minute: float | None = None
    timeout: float = 120.0
    patience: float = 1800.0
    max_calls: int | None = None
    max_cost: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0
    longest_answer: int = 20_000

    def __post_init__(self) -> None:
        _check_address(self.url)
        if not isinstance(self.model, str) or not self.model.strip():
            raise ValueError(f"judge.model must be the model's name, got {self.model!r}")
        if self.form not in FORMS:
            raise ValueError(f"judge.form must be one of {sorted(FORMS)}, got {self.form!r}")
        if self.key is not None and not (isinstance(self.key, str) and self.key.isidentifier()):
            raise ValueError("judge.key must be the name of an environment variable, and is none: never the key itself")
        if not FORMS[self.form].compares and self.against != SFT:
            raise ValueError(f"judge.against belongs to forms that compare, got form {self.form!r}")
        for name, file in (("against", None if self.against == SFT else self.against), ("template", self.template)):
            if file is not None and not Path(file).expanduser().is_file():
                raise ValueError(f"judge.{name} must be a file, got {file!r}, which is none")
        for name in ("samples", "repeats", "concurrency", "longest_answer", "max_tokens", "max_calls"):
            _check_number(name, getattr(self, name), whole=True, optional=name in ("max_tokens", "max_calls"))
        for name in ("timeout", "patience", "requests_per_minute", "max_cost"):
            _check_number(name, getattr(self, name), optional=name in ("requests_per_minute", "max_cost"))
        for name in ("temperature", "price_in", "price_out"):
            _check_number(name, getattr(self, name), zero=True)
        if self.max_cost is not None and not self.price_in + self.price_out:
            raise ValueError("judge.max_cost needs price_in or price_out, of a million tokens, got neither")

    @property
    def template_file(self) -> Path:
        """Where its prompt is."""
        return TEMPLATES / f"{self.form}.txt" if self.template is None else Path(self.template).expanduser().absolute()

    @property
    def compares(self) -> bool:
        """Whether it is shown two answers."""
        return FORMS[self.form].compares


def judge_from(value: JudgeSettings | Mapping[str, Any]) -> JudgeSettings:
    """A mapping of `JudgeSettings` fields as settings; ValueError naming keys that are unknown or missing."""
    if isinstance(value, JudgeSettings):
        return value
    allowed = [known.name for known in fields(JudgeSettings)]
    if not isinstance(value, Mapping):
        raise ValueError(f"judge must be a mapping with url and model, got {value!r:.60}")
    unknown = sorted(str(key) for key in value if key not in allowed)
    if unknown:
        raise ValueError(f"judge takes {allowed}, got unknown {unknown}")
    absent = [name for name in ("url", "model") if name not in value]
    if absent:
        raise ValueError(f"judge needs {' and '.join(absent)}, got {sorted(map(str, value))}")
    return JudgeSettings(**value)


def _check_address(url: Any) -> None:
    parts = urlsplit(url) if isinstance(url, str) else None
    refuse_secrets("judge.url", url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise ValueError(f"judge.url must be an address such as https://judge.example/v1, got {url!r:.80}")


def _check_number(name: str, value: Any, *, whole: bool = False, optional: bool = False, zero: bool = False) -> None:
    if value is None and optional:
        return
    right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not right or not (0 < value < float("inf") or (zero and value == 0)):
        kind = "a whole number of at least 1" if whole else f"a number {'of at least' if zero else 'above'} 0"
        raise ValueError(f"judge.{name} must be {kind}, got {value!r}")
