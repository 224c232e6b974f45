"""Paths in a search space file are relative to that file: here they become absolute. Torch-free."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omsweep.evaluation.data import SAMPLES
from omsweep.evaluation.judges.settings import SFT
from omsweep.evaluation.rewards.reward_models import REWARD_MODELS
from omsweep.evaluation.settings import REWARD_PROMPTS, TAX_SUITES
from omsweep.preferences.settings import SUFFIXES

Locate = Callable[[str], str]


def located(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A file's content with every relative path in it made absolute, seen from the file's folder.

    Names of embedded things stay as they are, and so do hub ids: `a/b` is one where the folder holds no folder of that
    name. What has another shape than a search space is left for the checks that name it.
    """

    def path(value: str) -> str:
        return value if value.startswith("~") else str(folder / value)

    def model(value: str) -> str:
        return path(value) if value.startswith(".") or (folder / value).is_dir() else value

    places: dict[str, Any] = {
        "families": lambda families: _each(families, lambda family: _keys(family, model, "base", "sft", "other_sft")),
        "preferences": lambda data: _data(data, path),
        "replay": lambda data: _data(data, path),
        "space": lambda space: _at(
            space, "method", lambda branches: _each(branches, lambda b: _at(b, "preferences", lambda d: _data(d, path)))
        ),
        "evaluate": lambda evaluate: _evaluate(evaluate, path, model),
        "search": lambda search: _keys(search, path, "warm_start"),
        "report": lambda report: _keys(report, path, "pilot"),
    }
    return {key: places[key](value) if key in places else value for key, value in content.items()}


def _evaluate(evaluate: Any, path: Locate, model: Locate) -> Any:
    def reward(given: Any) -> Any:
        given = _at(_at(given, "prompts", _unless(REWARD_PROMPTS, path)), "model", _unless(REWARD_MODELS, model))
        return _at(
            given, "judge", lambda judge: _at(_keys(judge, path, "template"), "against", _unless({SFT: 0}, path))
        )

    evaluate = _at(_at(evaluate, "tax", _unless(TAX_SUITES, path)), "reward", reward)
    evaluate = _at(evaluate, "rewards", lambda rewards: _each(rewards, reward))
    evaluate = _at(evaluate, "data_root", _unless({SAMPLES: None}, path))
    return _at(evaluate, "data", lambda files: _each(files, _unless({}, path)))


def _unless(names: Mapping[str, Any], locate: Locate) -> Callable[[Any], Any]:
    return lambda value: locate(value) if isinstance(value, str) and value not in names else value


def _data(data: Any, path: Locate) -> Any:
    if isinstance(data, str):
        return path(data) if data.endswith(SUFFIXES) else data
    return _keys(data, path, "path")


def _keys(mapping: Any, locate: Locate, *keys: str) -> Any:
    for key in keys:
        mapping = _at(mapping, key, lambda value: _each(value, _unless({}, locate)))
    return mapping


def _at(mapping: Any, key: str, change: Callable[[Any], Any]) -> Any:
    return {**mapping, key: change(mapping[key])} if isinstance(mapping, Mapping) and key in mapping else mapping


def _each(values: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(values, Mapping):
        return {key: change(value) for key, value in values.items()}
    return [change(value) for value in values] if isinstance(values, list) else change(values)
