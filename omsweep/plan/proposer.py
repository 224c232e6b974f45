"""What every way of choosing the next trial offers."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from omsweep.store.records import TrialSpec
from omsweep.store.state import SweepState


class Proposal(NamedTuple):
    """A trial, and what its proposer has to know of it to go on in another process; plain data."""

    spec: TrialSpec
    drawn: Mapping[str, Any] | None = None


class Proposer(Protocol):
    """Chooses trials one after another, and is told how they end; made anew from the state it goes on from."""

    def next(self) -> Proposal | None:
        """The next trial; None once every trial was started."""

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        """How a trial ended: fields of its outcome."""

    def left(self) -> Mapping[str, int]:
        """How many trials are still to come, by family."""


class DesignProposer:
    """The trials of a design that a sweep has not thought of yet, in their order."""

    def __init__(self, specs: Iterable[TrialSpec], state: SweepState) -> None:
        self._left = deque(spec for spec in specs if spec.trial_id not in state.trials)

    def next(self) -> Proposal | None:
        """The next trial; None once every trial was started."""
        return Proposal(self._left.popleft()) if self._left else None

    def left(self) -> Mapping[str, int]:
        """How many trials are still to come, by family."""
        return Counter(spec.family for spec in self._left)

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        """Nothing: a design does not depend on results."""
