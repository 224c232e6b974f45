"""What of a preparation was made now and what the cache had, in the words of the log. Torch-free."""

from collections.abc import Mapping
from pathlib import Path

PARTS = {
    "families": "models",
    "reward_models": "reward model",
    "task_vectors": "task vectors",
    "preferences": "preference pairs",
    "replay": "replayed data",
    "too_long": "tokens",
    "prepared": "tokens",
    "rendered": "checks of the data",
    "contamination": "checks of the data",
    "preflight": "checks of the data",
    "reference_scores": "SFT scores",
}
"""By kind of cache entry; the others are small and made of what a family needs anyhow."""
LOG_PROBS = "reference log-probs"


def made_of(found: Mapping[Path, bool], *, scored: int) -> dict[str, bool]:
    """By part, whether any of it was made now.

    Args:
        found: entries of the cache that were asked for, and whether they were built (`omsweep.cache.use.noted`).
        scored: how many examples the reference scored.
    """
    made: dict[str, bool] = {}
    for path, built in found.items():
        if (part := PARTS.get(path.parent.name)) is not None:
            made[part] = built or made.get(part, False)
    return made | {LOG_PROBS: scored > 0}


def describe(made: Mapping[str, bool]) -> str:
    """`models cached, tokens made, ...`."""
    return ", ".join(f"{part} {'made' if now else 'cached'}" for part, now in made.items())
