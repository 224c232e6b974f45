"""Learning curves: a later attempt goes on where its checkpoint was, and what a power cut took is missing."""

from omsweep.results.losses import losses_of
from omsweep.store.events import Event


def progress(seq, first_step, losses, trial_id="a"):
    return Event(seq, 1, 0.0, "progress", trial_id, 1, {"first_step": first_step, "losses": losses})


def test_losses_of_steps():
    events = [
        progress(1, 1, [0.9, 0.8, 0.7]),
        progress(2, 1, [0.5], trial_id="b"),
        progress(3, 3, [0.6, None]),
        progress(4, 6, [0.4]),
    ]
    assert losses_of(events) == {"a": [0.9, 0.8, 0.6, None, None, 0.4], "b": [0.5]}
