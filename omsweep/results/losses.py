"""Learning curves: the losses of every trial's steps, as the log has them."""

from collections.abc import Iterable, Mapping, Sequence

from omsweep.store.events import Event


def losses_of(events: Iterable[Event]) -> Mapping[str, Sequence[float | None]]:
    """By trial id the losses of what its last attempt took, one a step; None where it is not known or no number."""
    losses: dict[str, list[float | None]] = {}
    for event in events:
        if event.kind == "progress":
            known, first = losses.setdefault(str(event.trial_id), []), event.data["first_step"] - 1
            known[first:] = [*[None] * (first - len(known)), *event.data["losses"]]
    return losses
