"""What to score a policy on, as plain frozen settings; imports nothing heavy.

`evaluate:` in a search space becomes an `EvaluateSettings`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from omsweep.evaluation.backends.settings import BackendSettings, backend_from, check_answerable
from omsweep.evaluation.data import TaxSuite, declared, tax_suite
from omsweep.evaluation.judges.settings import JudgeSettings, judge_from
from omsweep.evaluation.suite_files import likelihood_tasks, suite_code

_SUITES = Path(__file__).parent / "suites"

SPLITS = ("search", "report")
"""Searchers, designs and front selection read `search` only; the front's members are rescored on `report`."""

ALL_SPLITS = (*SPLITS, "confirm")
"""Every split an item can be in; nothing is scored on `confirm` and, as of the others, nothing is trained on it."""

LANGUAGES = ("python", "cpp")
"""What a task's `metadata.executes` can be: what the programs are written in that models answer with."""

TAX_SUITES: Mapping[str, Path] = {
    **{name: _SUITES / name for name in ("tiny", "smollm2", "public", "paper")},
    "quick": _SUITES / "paper",
}
"""Suites by name: `tiny` and `smollm2` with their data, `public` naming tasks of lm-eval, which downloads theirs,
`paper` with the benchmarks of arXiv:2405.17931, whose data the user gives, and `quick`, fewer items of these.

Any other folder of lm-eval task YAMLs is a suite by its path.
"""

IMPLICIT = "implicit_accuracy"
"""What scores a policy by likelihoods, not by answers: recorded beside a reward, no reward itself."""

SCORERS: Mapping[str, str] = {
    "tiny": "omsweep.evaluation.scorers.tiny",
    "positivity": "omsweep.evaluation.scorers.positivity",
    "reward_model": "omsweep.evaluation.scorers.reward_model",
    "length": "omsweep.evaluation.scorers.length",
    "pattern": "omsweep.evaluation.scorers.pattern",
    "judge": "omsweep.evaluation.scorers.judge",
    IMPLICIT: "omsweep.evaluation.rewards.implicit_accuracy",
}
"""Scorer name -> the module whose `build(reward)` makes it; `module:function` is a scorer of the user's own."""

UNITS: Mapping[str, str] = {
    IMPLICIT: "share of pairs",
    "length": "characters",
    "pattern": "share of answers",
    "judge": "points",
    "tiny": "gold reward",
}
"""Units of scorers; of others `scorer units`."""

OWN_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "reward_model": {"model": None, "revision": None, "dtype": "float32", "device": "auto", "keep": True},
    "pattern": {"pattern": None},
    "judge": {"judge": None},
}
"""Scorer -> what only it can be told, and the defaults."""

SCORER_MODULES: Mapping[str, tuple[str, ...]] = {"positivity": ("vaderSentiment",)}
"""Scorer name -> modules that it needs beside omsweep's own packages, see `omsweep.extras`."""

TAKEN = ("greedy", "sampled")
"""Keys of `rewards` in a trial's record that are the objective's own, by how answers were drawn."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

REWARD_PROMPTS: Mapping[str, Path] = {name: _SUITES / name / "reward_prompts.jsonl" for name in ("tiny", "smollm2")}
"""Embedded reward prompts by name; any other JSONL file of prompts is given by its path."""


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """Which scorer judges completions of which prompts.

    Args:
        scorer: a name in `SCORERS`, or `module:function`, see `omsweep.evaluation.scorers.own`.
        prompts: a name in `REWARD_PROMPTS`, or the path of a JSONL file with lines `{"prompt": text}` or
            `{"messages": [{"role", "content"}, ...]}`, optionally `id`, `cluster`, `split` and `category`. Left out,
            the scorer `tiny` has those of the tiny world and every other one none: it can judge answers, but no policy.
        model: folder, hub id or name in `REWARD_MODELS` of the sequence classification model; for `reward_model` only.
        revision: its revision on the hub; for `reward_model` only.
        dtype: its torch dtype by name; for `reward_model` only.
        device: `auto` (the GPU where there is one), `cpu` or `cuda`; for `reward_model` only.
        keep: whether it stays loaded between trials, or is freed after each scoring; for `reward_model` only.
        pattern: regular expression; for `pattern` only.
        judge: who judges (`omsweep.evaluation.judges.settings.JudgeSettings`); for `judge` only.
        name: what the reward is called; default the scorer's name.

    Raises:
        ValueError: unknown scorer, prompts that are neither name nor file, a setting missing or not used.
    """

    scorer: str = "tiny"
    prompts: str = ""
    model: str | None = None
    revision: str | None = None
    dtype: str = "float32"
    device: str = "auto"
    keep: bool = True
    pattern: str | None = None
    judge: JudgeSettings | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.scorer not in SCORERS and not _OWN.fullmatch(self.scorer):
            raise ValueError(f"reward scorer must be one of {sorted(SCORERS)}, or module:function, got {self.scorer!r}")
        for owner, settings in OWN_SETTINGS.items():
            given = [name for name, default in settings.items() if getattr(self, name) != default]
            if given and self.scorer != owner:
                belong = "belongs" if len(settings) == 1 else "belong"
                raise ValueError(
                    f"reward {_listed(list(settings))} {belong} to scorer {owner!r}, got scorer {self.scorer!r}"
                )
        if self.scorer == "reward_model" and not self.model:
            raise ValueError("reward scorer 'reward_model' needs model: a folder or hub id, got none")
        if self.scorer == "pattern":
            _check_pattern(self.pattern)
        if self.scorer == "judge":
            if self.judge is None:
                raise ValueError("reward scorer 'judge' needs judge: a mapping with url and model, got none")
            object.__setattr__(self, "judge", judge_from(self.judge))
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"reward device must be auto, cpu or cuda, got {self.device!r}")
        if self.name and not _NAME.fullmatch(self.name):
            raise ValueError(f"reward name must be letters, digits, '_' and '-', got {self.name!r}")
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"reward dtype must be float32, bfloat16 or float16, got {self.dtype!r}")
        if not self.prompts and self.scorer == "tiny":
            object.__setattr__(self, "prompts", "tiny")
        if self.prompts:
            prompts_path(self.prompts)

    @property
    def called(self) -> str:
        """Its name in tables and records; that of its function, of a scorer of the user's own."""
        return self.name or self.scorer.rpartition(":")[2]

    @property
    def is_code(self) -> bool:
        """Whether it runs a function of the user's own."""
        return self.scorer not in SCORERS

    @property
    def unit(self) -> str:
        """Of a score."""
        if self.judge is not None and not self.judge.compares:
            return "grades of 10"
        return UNITS.get(self.scorer, "scorer units")


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """How a policy is scored.

    Args:
        tax: a name in `TAX_SUITES` or a folder of lm-eval task YAMLs.
        reward: scorer and prompts; a scorer's name or a mapping of fields is also taken.
        rewards: further ones by name, each as `reward`, which are recorded beside it and select nothing; their prompts
            are those of `reward` where they name none.
        samples: completions drawn for each reward prompt (S), besides the greedy one.
        temperature: of the drawn completions, above 0; top_p is 1.
        max_new_tokens: longest completion of a reward prompt, in tokens; a tax suite's YAML has its own.
        batch_size: completions or items at a time.
        limit: items per tax task, and reward prompts: a random sample of the split; None = all.
        allow_suite_code: whether Python that a folder's task YAMLs name (`!function`) may run.
        data_root: folder of the data files that the suite's tasks want, or `samples` (`omsweep.evaluation.data`).
        data: such files by task, where they lie elsewhere.
        tasks: those of the suite to keep; None = all.
        allow_code_execution: whether programs that a model writes may run, in the sandbox, for the tasks that need it.
        backend: who answers; a backend's name or a mapping of fields is also taken.
        allow_scorer_code: whether scorers `module:function` may run.

    Raises:
        ValueError: naming field, value and what is allowed.
    """

    tax: str = "tiny"
    reward: RewardSettings = field(default_factory=RewardSettings)
    rewards: Mapping[str, RewardSettings] = field(default_factory=dict)
    samples: int = 4
    temperature: float = 1.0
    max_new_tokens: int = 64
    batch_size: int = 256
    limit: int | None = None
    allow_suite_code: bool = False
    data_root: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    tasks: Sequence[str] | None = None
    allow_code_execution: bool = False
    backend: BackendSettings = field(default_factory=BackendSettings)
    allow_scorer_code: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "reward", reward_from(self.reward))
        object.__setattr__(self, "backend", backend_from(self.backend))
        object.__setattr__(self, "rewards", rewards_from(self.rewards, self.reward))
        if self.reward.scorer == IMPLICIT:
            raise ValueError(f"reward must be a scorer of answers, {IMPLICIT} is recorded in rewards only")
        for one in self.all_rewards:
            if not one.prompts:
                raise ValueError(
                    f"reward must have prompts beside scorer {one.scorer!r}: what policies are asked, a JSONL file or"
                    f" one of {sorted(REWARD_PROMPTS)}; got none"
                )
            if one.scorer == IMPLICIT and self.backend.serves:
                raise ValueError(
                    f"reward {one.called} asks for likelihoods, which a server does not give: leave it out"
                )
            if one.is_code and not self.allow_scorer_code:
                raise ValueError(
                    f"allow_scorer_code must be true for scorer {one.scorer}, which runs Python, got"
                    f" {self.allow_scorer_code}; read it first"
                )
        folder = suite_folder(self.tax)
        if self.code and not self.allow_suite_code:
            raise ValueError(
                f"allow_suite_code must be true for the tax suite {folder}, which runs Python when it is loaded, got"
                f" {self.allow_suite_code}; read it first: {', '.join(self.code[:3])}"
            )
        check_answerable(
            self.backend, [task for task in likelihood_tasks(folder) if self.tasks is None or task in self.tasks]
        )
        for name in ("samples", "max_new_tokens", "batch_size", "limit"):
            value = getattr(self, name)
            if value is None and name == "limit":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if isinstance(self.temperature, bool) or not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be above 0, got {self.temperature!r}")
        if self.executes and not self.allow_code_execution:
            others = [task for task in declared(folder) if task not in self.executes]
            raise ValueError(
                f"allow_code_execution must be true for {', '.join(self.executes)}, which run programs that the model"
                f" writes (docs/sandbox.md), got {self.allow_code_execution}; to leave them out:"
                f" tasks: [{', '.join(others)}]"
            )
        _ = self.suite

    @property
    def executes(self) -> dict[str, str]:
        """Tasks to score whose answers are programs, with the language: their `metadata.executes`."""
        every = {task: metadata.get("executes") for task, metadata in declared(suite_folder(self.tax)).items()}
        found = {task: said for task, said in every.items() if said and (self.tasks is None or task in self.tasks)}
        for task, said in found.items():
            if said not in LANGUAGES:
                raise ValueError(f"task {task!r}: metadata.executes must be one of {list(LANGUAGES)}, got {said!r}")
        return found

    @property
    def suite(self) -> TaxSuite:
        """The suite with its data files; ValueError where some are missing."""
        folder = suite_folder(self.tax)
        return tax_suite(self.tax, folder, data_root=self.data_root, data=self.data, tasks=self.tasks)

    @property
    def all_rewards(self) -> tuple[RewardSettings, ...]:
        """The objective's, then the others."""
        return (self.reward, *self.rewards.values())

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


def rewards_from(value: Any, reward: RewardSettings) -> dict[str, RewardSettings]:
    """Rewards beside `reward` by name; ValueError for a name that is taken."""
    if not isinstance(value, Mapping):
        raise ValueError(f"evaluate.rewards must be a mapping of names, got {value!r:.80}")
    found: dict[str, RewardSettings] = {}
    for name, given in value.items():
        if name in (*TAKEN, reward.called):
            raise ValueError(f"evaluate.rewards must not be called {', '.join(TAKEN)} or as reward, got {name!r}")
        try:
            found[name] = asked_alike(replace(reward_from(given), name=name), reward)
        except ValueError as error:
            raise ValueError(f"rewards.{name}: {error}") from None
    return found


def asked_alike(one: RewardSettings, reward: RewardSettings) -> RewardSettings:
    """A further reward, with the prompts of `reward` where it names none: it judges the same answers."""
    return one if one.prompts or one.scorer == IMPLICIT else replace(one, prompts=reward.prompts)


def objective_first(evaluate: Mapping[str, Any]) -> dict[str, Any]:
    """An `evaluate` section in which `rewards` names all rewards, as one with the objective as `reward`.

    The objective is the one with `objective: true`; the first where none is and `reward` is not given either.

    Raises:
        ValueError: several are the objective.
    """
    given, section = evaluate.get("rewards"), dict(evaluate)
    if not isinstance(given, Mapping) or not given:
        return section
    rewards = {name: {"scorer": one} if isinstance(one, str) else one for name, one in given.items()}
    chosen = [name for name, one in rewards.items() if isinstance(one, Mapping) and one.get("objective") is True]
    if "reward" not in section and not chosen:
        chosen = list(rewards)[:1]
    if len(chosen) > 1 or (chosen and "reward" in section):
        others = ["reward"] if "reward" in section else []
        raise ValueError(f"rewards must hold one objective, the other is the tax; got {', '.join(chosen + others)}")
    plain = {
        name: {key: value for key, value in one.items() if key != "objective"} if isinstance(one, Mapping) else one
        for name, one in rewards.items()
    }
    if chosen and isinstance(plain[chosen[0]], Mapping):
        section["reward"] = {**plain.pop(chosen[0]), "name": chosen[0]}
    return section | {"rewards": plain}


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


def _check_pattern(pattern: str | None) -> None:
    if not isinstance(pattern, str) or not pattern:
        raise ValueError(f"reward scorer 'pattern' needs pattern: a regular expression, got {pattern!r}")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"reward pattern must be a regular expression, got {pattern!r}: {error}") from None


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def check_split(split: str) -> None:
    """ValueError unless `split` is one of `SPLITS`."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {list(SPLITS)}, got {split!r}")
