"""Who computes the batches of a scoring: this process alone, or all workers of a group. The batches are the same."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Models:
    """What a batch is computed with; each worker has its own.

    Attributes:
        policy: the model that is scored.
        tokenizer: its tokenizer.
        reference: the SFT model.
        folder: where the policy is saved, for servers.
    """

    policy: Any = None
    tokenizer: Any = None
    reference: Any = None
    folder: str | None = None


Compute = Callable[[Models, Any], Any]
"""From the models and a batch to its result; a function that can be sent to another process."""


class Spread(Protocol):
    """Computes batches somewhere."""

    def __call__(self, compute: Compute, models: Models, batches: Sequence[Any]) -> Iterable[Any]:
        """The result of each batch, in the batches' order; what raises for one of them is raised here."""


def alone(compute: Compute, models: Models, batches: Sequence[Any]) -> Iterable[Any]:
    """Every batch in this process, one after another, as its result is asked for."""
    return (compute(models, batch) for batch in batches)
