"""What becomes of attempts: results, further tries, failures; and which trial the queue starts next."""

import dataclasses
import errno
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from omsweep.plan.attempts import AGAIN, Attempts, Job, TrialQueue
from omsweep.plan.optuna import StudyProposer
from omsweep.plan.proposer import DesignProposer
from omsweep.plan.stopping import Decision, Stopping
from omsweep.space.build import build_space
from omsweep.store import log as log_module
from omsweep.store.log import SweepLog
from omsweep.store.records import TRAINED, Outcome, TrialRecord, TrialSpec
from omsweep.store.state import Rung
from omsweep.store.storage import FolderStorage

SPECS = [TrialSpec(trial_id=name, family="f", seed=3) for name in "abc"]
DONE = Outcome(state="completed", reward=0.5, tax=1.0, losses=(0.7, 0.6))
KEPT = DONE.model_copy(update={"reward": None, "tax": None, "policy_path": "/p", "reason": TRAINED})


def lost(reason: str) -> Outcome:
    return Outcome(state="failed", reason=reason, error=f"it was {reason}", traceback="Traceback")


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def ended(self, record: TrialRecord, outcome: Outcome) -> None:
        self.heard.append((record.trial_id, record.state))

    def tried_again(self, trial_id: str, reason: str, error: str) -> None:
        self.heard.append((trial_id, reason))


class Told(DesignProposer):
    """A design that remembers what it is told."""

    told: list[tuple[str, Any]]

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        self.told = [*getattr(self, "told", []), (trial_id, (outcome or {}).get("state"))]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SweepLog]:
    made = SweepLog.open(FolderStorage(tmp_path))
    made.append("created", name="s", resolved={})
    yield made
    made.close()


def queue_of(log: SweepLog, *listeners: Any) -> TrialQueue:
    return TrialQueue(Attempts(log, listeners), Told(SPECS, log.state))


def begin(queue: TrialQueue) -> str | None:
    job = queue.next()
    if job is None:
        return None
    queue.start(job)
    return job.spec.trial_id


def test_what_finds_no_room_waits_and_nothing_more_is_thought_of(log: SweepLog) -> None:
    """Of two families one may be held up by its size: the other's trials go past it, as far ahead as is allowed."""
    sizes = {"a": "large", "b": "large", "c": "small", "d": "small"}
    specs = [TrialSpec(trial_id=name, family=family, seed=3) for name, family in sizes.items()]
    queue = TrialQueue(Attempts(log, []), Told(specs, log.state))

    def small(spec: TrialSpec) -> bool:
        return spec.family == "small"

    assert queue.left() == {"large": 2, "small": 2}
    assert queue.next(small, room=lambda: False) is None
    assert not log.state.trials
    assert queue.next(small, ahead=2) is None  # a and b wait, c has not been thought of
    assert sorted(log.state.trials) == ["a", "b"]
    job = queue.next(small, ahead=3)
    assert job is not None
    assert (job.spec.trial_id, [one.trial_id for one in queue.running]) == ("c", ["c"])
    assert queue.left() == {"large": 2, "small": 1}
    assert not queue.finished
    job = queue.next()  # there is room again
    assert job is not None
    assert job.spec.trial_id == "a"


def test_every_trial_is_started_once_and_told(log: SweepLog) -> None:
    listener = Listener()
    queue = queue_of(log, listener)
    assert [begin(queue) for _ in range(4)] == ["a", "b", "c", None]
    assert not queue.finished
    for name in "bca":
        queue.end(name, DONE)
    assert queue.finished
    assert [one.trial_id for one in log.state.records()] == ["b", "c", "a"]
    assert listener.heard == [(name, "completed") for name in "bca"]
    assert log.state.trials["a"].steps == 2
    queue.end("a", lost("process lost"))  # Tune may say so of one that has completed
    assert log.state.trials["a"].record.state == "completed"


def test_a_lost_attempt_is_no_result_and_its_trial_comes_again(log: SweepLog) -> None:
    queue = queue_of(log)
    assert [begin(queue) for _ in range(2)] == ["a", "b"]
    queue.end("a", lost("process lost"))
    assert log.state.trials["a"].outcome is None
    assert begin(queue) == "a"  # what was begun comes first
    queue.end("a", DONE)
    record = log.state.trials["a"].record
    assert (record.state, record.attempts, record.error) == ("completed", 2, None)
    assert getattr(queue._proposer, "told", []) == [("a", "completed")]


def test_a_new_driver_counts_lost_processes_anew(log: SweepLog, tmp_path: Path) -> None:
    queue = queue_of(log)
    for _ in range(2):
        begin(queue)
        queue.end("a", lost("process lost"))
    log.close()
    again = SweepLog.open(FolderStorage(tmp_path))
    queue = queue_of(again)
    for _ in range(2):  # the machine went down with the former driver
        begin(queue)
        queue.end("a", lost("process lost"))
    assert again.state.trials["a"].outcome is None
    begin(queue)
    queue.end("a", lost("process lost"))
    assert again.state.trials["a"].record.error == "it was process lost (3 times)"
    again.close()


@pytest.mark.parametrize("reason", [reason for reason, again in AGAIN.items() if again.times is not None])
def test_each_reason_has_a_budget_of_its_own(log: SweepLog, tmp_path: Path, reason: str) -> None:
    queue, again = queue_of(log), AGAIN[reason]
    for _ in "abc":
        begin(queue)
    for name in "bc":
        queue.end(name, DONE)
    queue.end("a", lost("preempted"))
    tries = 0
    while begin(queue) == "a":
        tries += 1
        queue.end("a", lost(reason))
    assert tries == (again.times or 0) + 1
    record = log.state.trials["a"].record
    assert (record.state, record.attempts) == ("failed", tries + 1)
    assert str(record.error).startswith(f"it was {reason} ({tries} times)")
    assert again.remedy in str(record.error)
    assert sorted(file.name for file in (tmp_path / "tracebacks").iterdir()) == [
        f"a-{n + 1}.txt" for n in range(tries + 1)
    ]


def test_what_ran_out_of_memory_is_tried_again_alone(log: SweepLog) -> None:
    queue = queue_of(log)
    assert [begin(queue) for _ in range(2)] == ["a", "b"]
    queue.end("a", lost("out of memory"))
    assert begin(queue) == "c"  # not alone
    assert begin(queue) is None
    queue.end("b", DONE)
    assert begin(queue) is None
    queue.end("c", DONE)
    assert begin(queue) == "a"
    queue.end("a", DONE)
    assert queue.finished


def test_nothing_starts_beside_a_trial_that_must_be_alone(log: SweepLog) -> None:
    queue = queue_of(log)
    for _ in "abc":
        begin(queue)
    for name in "abc":
        queue.end(name, lost("out of memory"))
    assert begin(queue) == "a"
    assert begin(queue) is None
    queue.end("a", DONE)
    assert begin(queue) == "b"


def test_a_driver_goes_on_where_another_was_killed(log: SweepLog) -> None:
    queue = queue_of(log)
    assert [begin(queue) for _ in range(2)] == ["a", "b"]
    queue.end("a", DONE)
    again = queue_of(log)
    assert [one.reason for one in log.state.trials["b"].lost] == ["driver stopped"]
    assert [begin(again) for _ in range(3)] == ["b", "c", None]
    assert log.state.trials["b"].attempt == 2
    for name in "bc":
        again.end(name, DONE)
    assert again.finished
    assert queue_of(log).next() is None


def test_losses_of_a_trial_that_is_being_scored_are_noted(log: SweepLog) -> None:
    queue = queue_of(log)
    begin(queue)
    queue.attempts.note_losses("a", 1, [0.9])
    queue.attempts.note_trained("a", {"state": "completed", "steps": 3, "losses": [0.9, 0.8, 0.7]})
    assert (log.state.trials["a"].phase, log.state.trials["a"].trained) == (
        "trained",
        {"state": "completed", "steps": 3},
    )
    queue.end("a", DONE.model_copy(update={"losses": (0.9, 0.8, 0.7)}))
    assert log.state.trials["a"].steps == 3


class Rule:
    """Stops whatever has no reward, and remembers what it is told."""

    pauses = False

    def __init__(self) -> None:
        self.told: list[Any] = []

    def rungs(self, spec: TrialSpec) -> tuple[tuple[int, int, int | None], ...]:
        return ((0, 4, 8),)

    def decide(self, trial_id: str, family: str, rung: Rung) -> Decision:
        return Decision("go on" if rung.reward > 0 else "stop", f"its reward is {rung.reward:g}")

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        self.told.append((trial_id, (outcome or {})["state"]))


def test_what_is_decided_at_a_rung_is_in_the_log_once(log: SweepLog) -> None:
    rule: Any = Rule()
    queue = TrialQueue(Attempts(log), Told(SPECS, log.state), stopping=rule)
    first, second = str(begin(queue)), str(begin(queue))
    assert log.state.trials[first].spec.rungs == ((0, 4, 8),)
    good, bad = (Rung(0, 4, reward, 1.0, (0.1,), (0.2,)) for reward in (0.3, 0.0))
    assert [queue.reach(first, good), queue.reach(first, good), queue.reach(second, bad)] == [True, True, False]
    (known,) = log.state.trials[second].rungs
    assert (known.decision, known.why, known.reward_noise) == ("stop", "its reward is 0", (0.1,))
    assert len(log.state.trials[first].rungs) == 1
    queue.end(second, Outcome(state="stopped", reward=0.0, tax=1.0))
    assert rule.told == [(second, "stopped")]
    assert not any(log.state.fronts.values())


PROMOTING: dict[str, Any] = {
    "name": "n",
    "mode": "search",
    "families": ["tiny-llama"],
    "space": {"algorithm": "dpo", "learning_rate": 5e-4, "beta": 0.1, "method": {"adamw": {}}},
    "search": {"algorithm": "random", "trials": 5},
    "train": {"steps": 8},
    "scheduler": {"algorithm": "moasha", "variant": "promote", "first_rung": 4, "never_stop": 0},
}


def driven(log: SweepLog, *, events: int | None = None, apart: bool = False) -> list[str]:
    """Two slots under a rule that pauses, for so many ends and pauses; what happened."""
    space, scores = build_space(PROMOTING), {"a": 0.1, "b": 0.4, "c": 0.6, "d": 0.2, "e": 0.5}
    proposer = StudyProposer(space)
    specs = [made.spec.model_copy(update={"trial_id": name}) for name in scores if (made := proposer.next())]
    rule = Stopping(space, log.state)
    queue = TrialQueue(Attempts(log), DesignProposer(specs, log.state), stopping=rule, apart=apart)
    happened: list[str] = []
    running: deque[Job] = deque()
    while True:
        while len(running) < 2 and (job := queue.next()) is not None:
            queue.start(job)
            running.append(job)
            happened.append(f"{'start' if job.attempt == 1 else 'go on'} {job.spec.trial_id}")
        if queue.finished or events == 0:
            return happened
        job, events = running.popleft(), None if events is None else events - 1
        name = job.spec.trial_id
        assert job.spec.pauses
        rung = Rung(0, 4, scores[name], 1.0 + 9 * (scores[name] < 0.3), (0.01,), (0.01,))
        if not log.state.trials[name].rungs and not queue.reach(name, rung):
            queue.end(name, Outcome(state="stopped", steps=4, reward=scores[name]))
            happened.append(f"pause {name}")
        elif job.part == "train":
            queue.end(name, KEPT)
        else:
            queue.end(name, Outcome(state="completed", steps=8, reward=scores[name], tax=1.0))
            happened.append(f"end {name}")


def test_trials_pause_at_a_rung_until_it_is_their_turn(log: SweepLog) -> None:
    """The better half goes on; once nothing is left to begin, others do too, but for the beaten: these are stopped."""
    happened = driven(log)
    assert happened[:3] == ["start a", "start b", "pause a"]
    ends = {name: one.outcome or {} for name, one in log.state.trials.items()}
    assert {name: end["state"] for name, end in ends.items()} == {
        "a": "stopped",
        "b": "completed",
        "c": "completed",
        "d": "stopped",
        "e": "completed",
    }
    assert (ends["a"]["reward"], ends["a"]["steps"]) == (0.1, 4)
    assert [one.phase for one in log.state.trials.values()] == ["ended"] * 5
    assert not log.state.holding


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("events", range(9))
def test_a_sweep_goes_on_with_the_pauses_of_an_earlier_driver(log: SweepLog, events: int, apart: bool) -> None:
    driven(log, events=events, apart=apart)
    driven(log, apart=apart)
    states = {name: (one.outcome or {})["state"] for name, one in log.state.trials.items()}
    assert states == {"a": "stopped", "b": "completed", "c": "completed", "d": "stopped", "e": "completed"}


def test_an_attempt_is_lost_once(log: SweepLog) -> None:
    """Also where the driver is killed before the trial is tried again."""
    queue = queue_of(log)
    begin(queue)
    queue.end("a", lost("process lost"))
    assert queue.attempts.running() == []
    queue_of(log)
    assert [one.reason for one in log.state.trials["a"].lost] == ["process lost"]


def test_losses_are_noted_once(log: SweepLog) -> None:
    queue = queue_of(log)
    begin(queue)
    attempts = queue.attempts
    attempts.note_losses("a", 1, [0.9, 0.8])
    attempts.note_losses("a", 2, [0.8, 0.7])  # an attempt that went on from a checkpoint writes some of them again
    attempts.note_losses("a", 5, [0.1])  # a gap waits for the end
    assert log.state.trials["a"].steps == 3
    queue.end("a", DONE.model_copy(update={"losses": (0.9, 0.8, 0.7, 0.6, 0.5)}))
    attempts.note_losses("a", 6, [0.4])
    assert log.state.trials["a"].steps == 5


def test_after_a_full_disk_nothing_starts_for_a_while_and_no_trial_fails(
    log: SweepLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AGAIN, "storage full", dataclasses.replace(AGAIN["storage full"], pause=0.2))
    queue = queue_of(log)
    assert [begin(queue) for _ in range(2)] == ["a", "b"]
    for _ in range(5):
        queue.end("a", lost("storage full"))
        assert begin(queue) is None
        assert not queue.finished
        time.sleep(0.25)
        assert begin(queue) == "a"
    queue.end("a", DONE)
    assert log.state.trials["a"].record.attempts == 6


def test_a_traceback_waits_for_room_as_events_do(log: SweepLog, monkeypatch: pytest.MonkeyPatch) -> None:
    write, refusals = log.storage.write, iter([errno.ENOSPC, errno.EDQUOT])

    def full(name: str, content: bytes) -> None:
        if (number := next(refusals, None)) is not None:
            raise OSError(number, "no room")
        write(name, content)

    monkeypatch.setattr(log_module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(log.storage, "write", full)
    queue = queue_of(log)
    begin(queue)
    queue.end("a", lost("process lost"))
    assert log.storage.read("tracebacks/a-1.txt") == b"Traceback"


def test_an_error_is_kept_without_the_secrets_in_it(log: SweepLog, tmp_path: Path) -> None:
    queue = queue_of(log)
    begin(queue)
    text = "OSError: https://me:hunter2@hub/model?token=hunter2 not found"
    queue.end("a", Outcome(state="failed", error=text, traceback=f"Traceback\n{text}"))
    assert log.state.trials["a"].record.error == "OSError: https://hub/model?token=*** not found"
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and "hunter2" in file.read_text()]


def apart(log: SweepLog) -> TrialQueue:
    return TrialQueue(Attempts(log), Told(SPECS, log.state), apart=True)


def test_a_trained_trial_waits_first_for_a_job_that_scores_it(log: SweepLog) -> None:
    """It holds nothing then, and is not an end, a loss or a trial that is begun."""
    queue = apart(log)
    job = queue.next()
    assert job is not None
    assert (job.spec.trial_id, job.attempt, job.part, queue.scores(job.spec)) == ("a", 1, "train", False)
    queue.start(job, None, 8.0, 8.0)
    queue.attempts.note_trained("a", {"state": "completed"})  # the driver's eye may see it first
    assert not queue.scores(job.spec)  # the job that runs still holds what it trains with
    queue.end("a", KEPT)
    trial = log.state.trials["a"]
    assert (trial.phase, trial.steps, trial.lost, trial.outcome) == ("paused", 2, (), None)
    assert not log.state.holding
    assert (queue.left(), queue.finished) == ({"f (scoring)": 1, "f": 2}, False)
    trains = queue.next(lambda spec: not queue.scores(spec))  # no group that scores is free: others are trained
    assert trains is not None
    assert (trains.spec.trial_id, trains.part) == ("b", "train")
    scores = queue.next()
    assert scores is not None
    assert (scores.spec.trial_id, scores.attempt, scores.part) == ("a", 2, "score")
    queue.start(scores)
    queue.end("a", DONE.model_copy(update={"policy_path": "/p"}))
    assert (log.state.trials["a"].outcome or {})["reward"] == 0.5
    assert dict(log.state.counts) == {"completed": 1}


def test_what_was_trained_is_only_scored_whatever_happens_to_attempts_and_drivers(log: SweepLog) -> None:
    queue = apart(log)
    for name in "ab":
        assert begin(queue) == name
    queue.end("b", KEPT)
    again = apart(log)  # the driver was killed: a is lost, and b first in turn
    job = again.next()
    assert job is not None
    assert (job.spec.trial_id, job.part) == ("b", "score")
    again.start(job)
    again.end("b", lost("process lost"))
    parts = {made.spec.trial_id: made.part for _ in range(2) if (made := again.next()) is not None}
    assert parts == {"a": "train", "b": "score"}
    whole = queue_of(log).next(lambda spec: spec.trial_id == "b")  # a driver whose file says nothing of such groups
    assert whole is not None
    assert whole.part == "whole"
