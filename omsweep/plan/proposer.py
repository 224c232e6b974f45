"""What every way of choosing the next trial offers; Ray's side of it is `omsweep.engine.searcher`."""

from collections.abc import Mapping
from typing import Any, Protocol

from omsweep.store.records import TrialSpec


class Proposer(Protocol):
    """Chooses trials one after another, and is told how they end."""

    def next(self) -> TrialSpec | None:
        """The next trial; None once every trial was started."""

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        """How a trial ended: fields of its outcome, None where it left none."""
