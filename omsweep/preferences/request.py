"""What `omsweep prefs` is asked for, as plain checked values, and how two requests differ. Torch-free."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omsweep.preferences.pairing import COMPARISONS


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """How answers are sampled and paired.

    Attributes:
        samples: answers per prompt, at least 2.
        temperature: of sampling, above 0: greedy answers are all the same.
        max_new_tokens: longest answer in tokens, end token included.
        seed: of the answers, at least 0.
        min_margin: score points that chosen and rejected must be more than apart, at least 0.
        pairs: a key of `COMPARISONS`.

    Raises:
        ValueError: naming option, value and what is allowed.
    """

    samples: int = 4
    temperature: float = 1.0
    max_new_tokens: int = 64
    seed: int = 0
    min_margin: float = 0.0
    pairs: str = "best-worst"

    def __post_init__(self) -> None:
        for name, least in (("samples", 2), ("max_new_tokens", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if not 0 <= self.min_margin < math.inf:
            raise ValueError(f"min_margin must be at least 0, got {self.min_margin}")
        if self.pairs not in COMPARISONS:
            raise ValueError(f"pairs must be one of {', '.join(COMPARISONS)}, got {self.pairs!r}")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`key.path: VALUE there, VALUE now` for every key whose values differ; nested mappings are gone through."""
    found: list[str] = []
    for key in dict.fromkeys((*before, *now)):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += [f"{key}.{line}" for line in differences(old, new)]
        elif old != new:
            found.append(f"{key}: {old!r} there, {new!r} now")
    return found
