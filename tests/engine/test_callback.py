"""What Ray Tune asks for and tells reaches the queue: every attempt, how it ended, and that its process died."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher

from omsweep.engine.callback import TuneEvents
from omsweep.engine.searcher import QueueSearcher
from omsweep.plan.attempts import Job
from omsweep.store.records import Outcome, TrialSpec

OUTCOME = Outcome(state="completed", reward=0.5, tax=1.0, kl=0.1, steps=3, losses=(0.7,)).model_dump_json()
RUNNING = {"state": "running", "step": 2, "loss": 0.7, "reward": float("nan")}


class Queue:
    """Two jobs, and what it is told."""

    def __init__(self) -> None:
        self.left = [Job(TrialSpec(trial_id=name, family="f"), 2) for name in ("b", "a")]
        self.told: list[Any] = []
        self.finished = False

    def next(self) -> Job | None:
        return self.left.pop() if self.left else None

    def start(self, job: Job) -> None:
        self.told.append(job)

    def end(self, trial_id: str, outcome: Outcome) -> None:
        self.told.append((trial_id, outcome.state, outcome.reason, outcome.error))


def trial(config: Any, **known: Any) -> Any:
    return SimpleNamespace(config=config, last_result=known.get("last_result", {}), error_file=known.get("error_file"))


def test_suggestions_are_attempts_and_the_search_ends_with_the_queue() -> None:
    queue: Any = Queue()
    searcher = QueueSearcher(queue)
    suggested: list[Any] = [searcher.suggest(f"t{i}") for i in range(3)]
    assert [(TrialSpec(**one["spec"]).trial_id, one["attempt"]) for one in suggested[:2]] == [("a", 2), ("b", 2)]
    assert suggested[2] is None  # one that runs may still be lost, and then be tried again
    queue.finished = True
    assert searcher.suggest("t3") == Searcher.FINISHED


def test_starts_and_ends_are_told(tmp_path: Any) -> None:
    queue: Any = Queue()
    events, config = TuneEvents(queue), QueueSearcher(queue).suggest("t0")
    events.on_trial_start(0, [], trial(config))
    events.on_trial_complete(1, [], trial(config, last_result={"outcome": OUTCOME}))
    events.on_trial_error(2, [], trial(config))
    events.on_trial_complete(2, [], trial(config, last_result=RUNNING))  # where it was is not how it ended
    (tmp_path / "error").write_text("Traceback\nray.exceptions.ActorDiedError: gone")
    events.on_trial_error(3, [], trial(config, error_file=str(tmp_path / "error")))
    assert queue.told == [
        Job(TrialSpec(trial_id="a", family="f"), 2),
        ("a", "completed", None, None),
        *[("a", "failed", "process lost", "the trial's process died without a message")] * 2,
        ("a", "failed", "process lost", "ray.exceptions.ActorDiedError: gone"),
    ]


def test_what_goes_wrong_in_the_driver_is_no_trials_error() -> None:
    """It ends the sweep at Tune's next step, or when it next asks for a trial where nothing runs."""

    class Broken(Queue):
        def end(self, trial_id: str, outcome: Outcome) -> None:
            raise OSError("the log is gone")

    queue: Any = Broken()
    events = TuneEvents(queue)
    searcher = QueueSearcher(queue, events.check)
    config = searcher.suggest("t0")
    events.on_trial_start(0, [], trial(config))
    events.on_step_end(0, [])
    events.on_trial_complete(1, [], trial(config, last_result={"outcome": OUTCOME}))
    events.on_trial_error(2, [], trial(config))
    assert queue.told == [Job(TrialSpec(trial_id="a", family="f"), 2)]
    for asks in (lambda: events.on_step_end(2, []), lambda: searcher.suggest("t1"), events.check):
        with pytest.raises(OSError, match="the log is gone"):
            asks()
