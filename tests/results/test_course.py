"""Hypervolume over time, attempts: by hand from a few events."""

import pytest

from omsweep.results.course import course_of
from omsweep.store.events import Event

HOUR = 3600.0
SPACE = {"objectives": {"reward": "reward", "tax": "tax", "reference_point": {"reward": 0.0, "tax": 10.0}}}


def events(*happened):
    """Events one after the other: (hours, kind, trial id, data)."""
    return [
        Event(i + 1, 1, hours * HOUR, kind, trial_id, 1 if trial_id else None, data)
        for i, (hours, kind, trial_id, data) in enumerate(happened)
    ]


def ended(reward, tax, state="completed"):
    return {"outcome": {"state": state, "reward": reward, "tax": tax}}


def ran(trial_id, start, stop, outcome):
    trial = {"trial": {"family": "f", "kind": "trained"}}
    return [
        (start, "proposed", trial_id, trial),
        (start, "started", trial_id, {}),
        (stop, "ended", trial_id, outcome),
    ]


@pytest.fixture
def course():
    return course_of(
        events(
            (0, "created", None, {"name": "s", "resolved": SPACE}),
            (1, "driver", None, {"did": "started"}),
            *ran("a", 1, 2, ended(1.0, 5.0)),
            *ran("worse", 2, 3, ended(0.5, 6.0)),
            *ran("lost", 3, 4, ended(None, None, "failed")),
            *ran("b", 4, 6, ended(2.0, 5.0)),
        )
    )


def test_hours_count_from_the_drivers_start(course):
    assert [(step.hours, step.trials, step.hypervolume) for step in course.steps] == [
        (1.0, 1, 5.0),
        (3.0, 3, 5.0),  # where the line lies until it rises
        (5.0, 4, 10.0),
    ]


def test_every_attempt_has_its_times(course):
    assert [(span.trial_id, span.start / HOUR, span.end / HOUR, span.state) for span in course.spans] == [
        ("a", 1, 2, "completed"),
        ("worse", 2, 3, "completed"),
        ("lost", 3, 4, "failed"),
        ("b", 4, 6, "completed"),
    ]


def test_no_events_no_course():
    course = course_of([])
    assert (list(course.steps), list(course.spans)) == ([], [])
