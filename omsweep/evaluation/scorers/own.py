"""A scorer of the user's own: `module:function`, called with chats and completions.

The function takes `prompts`, a list of chats (lists of `{"role", "content"}`), and `completions`, a list of texts, and
returns one finite number for each. The module is found as `import` finds it: installed, or in `PYTHONPATH`, on every
node that scores.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omsweep.evaluation.settings import RewardSettings
from omsweep.evaluation.spread import Spread, alone
from omsweep.evaluation.suite_files import content_hash
from omsweep.foreign import calling


class OwnScorer:
    """What the function returns, checked."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self.function = name, function

    def score(
        self, prompts: Sequence[Sequence[Mapping[str, str]]], completions: Sequence[str], *, spread: Spread = alone
    ) -> list[float]:
        """One score for each pair; ValueError for another number of them, or what is no finite number."""
        chats = [[dict(turn) for turn in chat] for chat in prompts]
        with calling(f"score by {self.name}"):
            found = list(self.function(chats, list(completions)))
        if len(found) != len(completions):
            raise ValueError(f"scorer {self.name} must return {len(completions)} numbers, got {len(found)}")
        for number, value in enumerate(found):
            if isinstance(value, bool | str) or not _finite(value):
                raise ValueError(f"scorer {self.name} must return finite numbers, got {value!r:.60} for {number}")
        return [float(value) for value in found]


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def build(reward: RewardSettings) -> OwnScorer:
    """The scorer; ValueError where the module cannot be imported or has no such function."""
    module, _, function = reward.scorer.partition(":")
    with calling(f"import scorer {reward.scorer}"):
        found = getattr(import_module(module), function)
    if not callable(found):
        raise ValueError(f"scorer {reward.scorer} must be a function, got {found!r:.60}")
    return OwnScorer(reward.scorer, found)


def own_source(scorer: str) -> str:
    """A hash of the module's file, which is not imported; ValueError where there is none."""
    module = scorer.partition(":")[0]
    with calling(f"find scorer {scorer}"):
        found = find_spec(module)
    if found is None or not found.origin or not Path(found.origin).is_file():
        raise ValueError(f"scorer {scorer}: there is no module {module}; it must be installed or in PYTHONPATH")
    return content_hash(Path(found.origin))
