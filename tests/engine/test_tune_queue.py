"""What Ray Tune asks for and tells reaches the queue: every attempt, how it ended, and that its process died."""

from collections import deque
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from ray.tune.search import Searcher

from omsweep.engine.capacity import Capacity, Cluster, NoRoom
from omsweep.engine.placement import Worker
from omsweep.engine.tune_queue import QueueSearcher, TuneEvents
from omsweep.plan.attempts import Attempts, Job, TrialQueue
from omsweep.plan.design import draw
from omsweep.plan.proposer import DesignProposer
from omsweep.space.build import build_space
from omsweep.store.log import SweepLog
from omsweep.store.records import Outcome, Prepared, TrialSpec
from omsweep.store.storage import FolderStorage
from tests import stub_work
from tests.space_files import COMPARE

OUTCOME = Outcome(state="completed", reward=0.5, tax=1.0, kl=0.1, steps=3, losses=(0.7,)).model_dump_json()
RUNNING = {"state": "running", "step": 2, "loss": 0.7, "reward": float("nan")}


class Queue:
    """Two jobs, and what it is told."""

    def __init__(self) -> None:
        self.waiting = [Job(TrialSpec(trial_id=name, family="f"), 2) for name in ("b", "a")]
        self.told: list[Any] = []
        self.finished = False
        self.running: list[TrialSpec] = []

    def next(self, fits: Any, room: Any, ahead: int) -> Job | None:
        return self.waiting.pop() if self.waiting and room() and fits(self.waiting[-1].spec) else None

    def left(self) -> dict[str, int]:
        return {"f": len(self.waiting)} if self.waiting else {}

    def scores(self, spec: TrialSpec) -> bool:
        return False

    def start(self, job: Job, accelerator: str | None, cpus: float, gpus: float) -> None:
        self.told.append((job, accelerator, cpus, gpus))

    def end(self, trial_id: str, outcome: Outcome) -> None:
        self.told.append((trial_id, outcome.state, outcome.reason, outcome.error))


class Room:
    """A cluster with room, or without, and what was said of that."""

    workers: ClassVar[dict[str, Worker]] = {"f": Worker(cpus=1.0)}
    needs = workers

    def __init__(self) -> None:
        self.some, self.asked, self.waited = True, [], []  # type: bool, list[Any], list[str]

    def worker(self, spec: TrialSpec, running: Any) -> Worker | None:
        return Worker(cpus=1.0, accelerator="H100") if self.some else None

    def key_of(self, spec: TrialSpec) -> str:
        return spec.family

    def fits_beside(self, worker: Worker, running: Any, idle: Any) -> bool:
        return False

    def any_room(self, running: Any) -> bool:
        return self.some

    def ask_for(self, running: Any, left: Any) -> None:
        self.asked.append(dict(left))

    def wait(self, family: str) -> None:
        self.waited.append(family)
        if len(self.waited) == 3:
            raise NoRoom("no nodes came")


class Groups:
    """Groups by name, what was taken and given back, and whether another trial waits for one that is idle."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.wanted, self.idle = False, []  # type: bool, list[Worker]

    def take(self, worker: Worker, *, keep_idle: bool) -> Any:
        self.told.append(worker)
        return SimpleNamespace(name="g")

    def give_back(self, name: str, *, whole: bool) -> None:
        self.told.append((name, whole))

    def displaces(self, worker: Worker, wanted: Any) -> bool:
        return self.wanted

    def end_old(self) -> None:
        self.told.append("old")


def trial(config: Any, **known: Any) -> Any:
    return SimpleNamespace(config=config, last_result=known.get("last_result", {}), error_file=known.get("error_file"))


def test_suggestions_are_attempts_and_the_search_ends_with_the_queue() -> None:
    queue: Any = Queue()
    groups: Any = Groups()
    searcher = QueueSearcher(queue, TuneEvents(queue, groups), Room(), groups)
    suggested: list[Any] = [searcher.suggest(f"t{i}") for i in range(3)]
    assert [(TrialSpec(**one["spec"]).trial_id, one["attempt"]) for one in suggested[:2]] == [("a", 2), ("b", 2)]
    assert ([one["group"] for one in suggested[:2]], groups.told[-1]) == (["g", "g"], "old")
    assert suggested[2] is None  # one that runs may still be lost, and then be tried again
    queue.finished = True
    assert searcher.suggest("t3") == Searcher.FINISHED


def test_no_attempt_starts_without_room_for_it_and_the_wait_has_an_end() -> None:
    queue, room, groups = Queue(), Room(), Groups()  # type: Any, Any, Any
    searcher, room.some = QueueSearcher(queue, TuneEvents(queue, groups), room, groups), False
    queue.running = [TrialSpec(trial_id="c", family="f")]
    assert searcher.suggest("t0") is None
    assert (room.waited, room.asked) == ([], [{"f": 2}])  # another trial runs: its end gives room
    queue.running = []
    assert [searcher.suggest("t1"), searcher.suggest("t2")] == [None, None]
    with pytest.raises(NoRoom):
        searcher.suggest("t3")
    room.some = True
    found: Any = searcher.suggest("t4")
    assert found["worker"] == asdict(Worker(cpus=1.0, accelerator="H100"))


def test_starts_and_ends_are_told(tmp_path: Any) -> None:
    queue: Any = Queue()
    groups: Any = Groups()
    events = TuneEvents(queue, groups)
    config = QueueSearcher(queue, events, Room(), groups).suggest("t0")
    events.on_trial_start(0, [], trial(config))
    events.on_trial_complete(1, [], trial(config, last_result={"outcome": OUTCOME}))
    events.on_trial_error(2, [], trial(config))
    events.on_trial_complete(2, [], trial(config, last_result=RUNNING))  # where it was is not how it ended
    (tmp_path / "error").write_text("Traceback\nray.exceptions.ActorDiedError: gone")
    events.on_trial_error(3, [], trial(config, error_file=str(tmp_path / "error")))
    assert queue.told == [
        (Job(TrialSpec(trial_id="a", family="f"), 2), "H100", 1.0, 0.0),
        ("a", "completed", None, None),
        *[("a", "failed", "process lost", "the trial's process died without a message")] * 2,
        ("a", "failed", "process lost", "ray.exceptions.ActorDiedError: gone"),
    ]

    assert groups.told == [Worker(cpus=1.0, accelerator="H100"), ("g", True), *[("g", False)] * 3]


def test_a_group_that_other_trials_wait_for_is_ended_only_where_nothing_else_can_run() -> None:
    queue, groups = Queue(), Groups()  # type: Any, Any
    searcher = QueueSearcher(queue, TuneEvents(queue, groups), Room(), groups)  # type: ignore[arg-type]
    groups.wanted, queue.running = True, [TrialSpec(trial_id="c", family="f")]
    queue.next = lambda fits, room, ahead: queue.waiting.pop() if fits(queue.waiting[-1].spec) else None
    assert searcher.suggest("t0") is None
    queue.scores = lambda spec: True  # for scores, which a search waits for, one is ended at once
    assert searcher.suggest("t1") is not None
    queue.running, queue.scores = [], lambda spec: False
    assert searcher.suggest("t2") is not None


def test_what_goes_wrong_in_the_driver_is_no_trials_error() -> None:
    """It ends the sweep at Tune's next step, or when it next asks for a trial where nothing runs."""

    class Broken(Queue):
        def end(self, trial_id: str, outcome: Outcome) -> None:
            raise OSError("the log is gone")

    queue: Any = Broken()
    groups: Any = Groups()
    events = TuneEvents(queue, groups)
    searcher = QueueSearcher(queue, events, Room(), groups)
    config = searcher.suggest("t0")
    events.on_trial_start(0, [], trial(config))
    events.on_step_end(0, [])
    events.on_trial_complete(1, [], trial(config, last_result={"outcome": OUTCOME}))
    events.on_trial_error(2, [], trial(config))
    assert queue.told == [(Job(TrialSpec(trial_id="a", family="f"), 2), "H100", 1.0, 0.0)]
    for asks in (lambda: events.on_step_end(2, []), lambda: searcher.suggest("t1"), events.check):
        with pytest.raises(OSError, match="the log is gone"):
            asks()


PREPARED = Prepared(base="base", sft="sft", weights_hash="ab", dtype="float32")
MADE: dict[str, Any] = COMPARE | {"families": ["tiny-llama"], "design": {"blocks": 2}}
SCORED_APART = {"evaluate": {"workers": 2, "resources_per_worker": {"cpus": 0.5}}}


class Named(Groups):
    """Groups whose names say of what workers they are; those that are idle are given out again."""

    def take(self, worker: Worker, *, keep_idle: bool) -> Any:
        self.told.append((worker.count, worker.cpus, keep_idle))
        return SimpleNamespace(name=f"{worker.count} x {worker.cpus:g}")


def swept(folder: Path, made: dict[str, Any]) -> tuple[list[tuple[str, str, str]], SweepLog, Named]:
    """A design of stand-ins through Tune's side of the queue, two jobs at a time: (trial, part, group) of each job."""
    space, log = build_space(made), SweepLog.open(FolderStorage(folder))
    log.append("created", name="s", resolved=space.resolved())
    queue = TrialQueue(Attempts(log), DesignProposer(draw(space), log.state), apart="evaluate" in made)
    nodes = {"n": {"CPU": 2.0, "memory": 8e9}}
    capacity, groups = Capacity(space, print, look=lambda: Cluster(nodes, nodes)), Named()  # type: Capacity, Any
    capacity.scores = queue.scores
    events = TuneEvents(queue, groups)
    searcher = QueueSearcher(queue, events, capacity, groups)
    jobs, running = [], deque[Any]()
    while True:
        while isinstance(config := searcher.suggest("t"), dict):
            running.append(config)
            events.on_trial_start(0, [], trial(config))
            jobs.append((config["spec"]["trial_id"], config["part"], config["group"]))
        if not running:
            events.check()
            return jobs, log, groups
        config = running.popleft()
        spec = TrialSpec(**config["spec"])
        outcome = stub_work.session(spec, PREPARED, folder, started=0.0, part=config["part"])
        events.on_trial_complete(1, [], trial(config, last_result={"outcome": outcome.model_dump_json()}))


def test_a_trial_scored_in_another_group_ends_as_one_scored_where_it_was_trained(tmp_path: Path) -> None:
    """Two trials at a time on two CPUs; with groups that score, each trial is two jobs, of two kinds of group."""
    whole, log, _ = swept(tmp_path / "whole", MADE)
    apart, other, groups = swept(tmp_path / "apart", MADE | SCORED_APART)
    assert {part for _, part, _ in whole} == {"whole"}
    assert {(part, group) for _, part, group in apart} == {("train", "1 x 1"), ("score", "2 x 0.5")}
    assert len(apart) == 2 * len(whole) == 2 * len(log.state.trials) > 2
    assert apart[2] == (apart[0][0], "score", "2 x 0.5")  # scored before a third is trained
    assert groups.told.count(("2 x 0.5", True)) == len(whole)
    own = {"attempts", "policy_path"}
    found, expected = ({one.trial_id: one.model_dump(exclude=own) for one in of.state.records()} for of in (other, log))
    assert found == expected
    assert not other.state.holding
