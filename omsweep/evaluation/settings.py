"""What to score a policy on, as plain frozen settings; imports nothing heavy.

`evaluate:` in a search space becomes an `EvaluateSettings`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omsweep.evaluation.suite_files import suite_code

_SUITES = Path(__file__).parent / "suites"

SPLITS = ("search", "report")
"""Searchers, designs and front selection read `search` only; the front's members are rescored on `report`."""

ALL_SPLITS = (*SPLITS, "confirm")
"""Every split an item can be in; nothing is scored on `confirm` and, as of the others, nothing is trained on it."""

TAX_SUITES: Mapping[str, Path] = {name: _SUITES / name for name in ("tiny", "smollm2", "public")}
"""Suites by name: `tiny` and `smollm2` with their data, `public` naming tasks of lm-eval, which downloads theirs.

Any other folder of lm-eval task YAMLs is a suite by its path.
"""

SCORERS: Mapping[str, str] = {
    "tiny": "omsweep.evaluation.scorers.tiny",
    "positivity": "omsweep.evaluation.scorers.positivity",
    "reward_model": "omsweep.evaluation.scorers.reward_model",
}
"""Scorer name -> the module whose `build(reward)` makes it."""

SCORER_MODULES: Mapping[str, tuple[str, ...]] = {"positivity": ("vaderSentiment",)}
"""Scorer name -> modules that it needs beside omsweep's own packages, see `omsweep.extras`."""

REWARD_PROMPTS: Mapping[str, Path] = {name: _SUITES / name / "reward_prompts.jsonl" for name in ("tiny", "smollm2")}
"""Embedded reward prompts by name; any other JSONL file of prompts is given by its path."""


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """Which scorer judges completions of which prompts.

    Args:
        scorer: a name in `SCORERS`.
        prompts: a name in `REWARD_PROMPTS`, or the path of a JSONL file with lines `{"prompt": text}` or
            `{"messages": [{"role", "content"}, ...]}`, optionally `id`, `cluster`, `split` and `category`.
        model: folder, hub id or name in `REWARD_MODELS` of the sequence classification model; for `reward_model` only.
        revision: its revision on the hub; for `reward_model` only.
        dtype: its torch dtype by name; for `reward_model` only.

    Raises:
        ValueError: unknown scorer, prompts that are neither name nor file, a model missing or not used.
    """

    scorer: str = "tiny"
    prompts: str = "tiny"
    model: str | None = None
    revision: str | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.scorer not in SCORERS:
            raise ValueError(f"reward scorer must be one of {sorted(SCORERS)}, got {self.scorer!r}")
        if self.scorer == "reward_model" and not self.model:
            raise ValueError("reward scorer 'reward_model' needs model: a folder or hub id, got none")
        if self.scorer != "reward_model" and (self.model or self.revision or self.dtype != "float32"):
            raise ValueError(
                f"reward model, revision and dtype belong to scorer 'reward_model', got scorer {self.scorer!r}"
            )
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"reward dtype must be float32, bfloat16 or float16, got {self.dtype!r}")
        prompts_path(self.prompts)


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """How a policy is scored.

    Args:
        tax: a name in `TAX_SUITES` or a folder of lm-eval task YAMLs.
        reward: scorer and prompts; a scorer's name or a mapping of fields is also taken.
        samples: completions drawn for each reward prompt (S), besides the greedy one.
        temperature: of the drawn completions, above 0; top_p is 1.
        max_new_tokens: longest completion of a reward prompt, in tokens; a tax suite's YAML has its own.
        batch_size: completions or items at a time.
        limit: items per tax task, and reward prompts: a random sample of the split; None = all.
        allow_suite_code: whether Python that a folder's task YAMLs name (`!function`) may run.

    Raises:
        ValueError: naming field, value and what is allowed.
    """

    tax: str = "tiny"
    reward: RewardSettings = field(default_factory=RewardSettings)
    samples: int = 4
    temperature: float = 1.0
    max_new_tokens: int = 64
    batch_size: int = 256
    limit: int | None = None
    allow_suite_code: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "reward", reward_from(self.reward))
        folder = suite_folder(self.tax)
        if self.code and not self.allow_suite_code:
            raise ValueError(
                f"allow_suite_code must be true for the tax suite {folder}, which runs Python when it is loaded, got"
                f" {self.allow_suite_code}; read it first: {', '.join(self.code[:3])}"
            )
        for name in ("samples", "max_new_tokens", "batch_size", "limit"):
            value = getattr(self, name)
            if value is None and name == "limit":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if isinstance(self.temperature, bool) or not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be above 0, got {self.temperature!r}")

    @property
    def code(self) -> list[str]:
        """Where a suite of the user's own names Python that loading it runs."""
        return [] if self.tax in TAX_SUITES else suite_code(suite_folder(self.tax))


def reward_from(value: RewardSettings | str | Mapping[str, Any]) -> RewardSettings:
    """A scorer's name, or a mapping of `RewardSettings` fields, as settings."""
    if isinstance(value, RewardSettings):
        return value
    if isinstance(value, str):
        return RewardSettings(scorer=value)
    if not isinstance(value, Mapping):
        raise ValueError(f"evaluate.reward must be a mapping, got {value!r}")
    allowed = [known.name for known in fields(RewardSettings)]
    unknown = sorted(str(key) for key in value if key not in allowed)
    if unknown:
        raise ValueError(f"evaluate.reward takes {allowed}, got unknown {unknown}")
    return RewardSettings(**value)


def suite_folder(name: str) -> Path:
    """The folder of a suite given by name or path; ValueError when it is neither."""
    folder = TAX_SUITES.get(name) or Path(name).expanduser().absolute()
    if name not in TAX_SUITES and not folder.is_dir():
        raise ValueError(
            f"tax suite must be one of {sorted(TAX_SUITES)} or a folder of lm-eval task YAMLs, got {name!r}, which"
            f" {'is no folder' if folder.exists() else 'does not exist'}"
        )
    return folder


def prompts_path(name: str) -> Path:
    """The JSONL file of reward prompts given by name or path; ValueError when it is neither."""
    path = REWARD_PROMPTS.get(name) or Path(name).expanduser().absolute()
    if name not in REWARD_PROMPTS and not path.is_file():
        raise ValueError(
            f"reward prompts must be one of {sorted(REWARD_PROMPTS)} or a JSONL file, got {name!r}, which"
            f" {'is no file' if path.exists() else 'does not exist'}"
        )
    return path


def check_split(split: str) -> None:
    """ValueError unless `split` is one of `SPLITS`."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {list(SPLITS)}, got {split!r}")
