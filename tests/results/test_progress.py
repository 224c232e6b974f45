"""How far a sweep is: what its log says, and who holds it."""

import os
import time
from dataclasses import replace

import pytest

from omsweep.report.captions import ended, lost, merges, missing, standing
from omsweep.results.progress import Driver, progress_of
from omsweep.store.lease import Lease, Owner
from omsweep.store.state import SweepState
from tests.written_sweep import WrittenSweep

ALIVE = Driver(name="process 7 on a")


def propose(sweep: WrittenSweep, *names: str, **fields: object) -> None:
    for name in names:
        sweep.happened("proposed", name, trial={"family": "tiny-llama", "label": "adamw", **fields})


@pytest.fixture
def begun(folder, make_space, make_trial):
    """Of 18 trials 2 have ended, 1 runs, 1 was lost and waits, 14 are still to be started."""
    folder.create(make_space(posthoc={"line": {"method": "linear", "weights": [0.2, 0.8], "of": ["adamw"]}}))
    propose(folder, "a", "b", "c", "d")
    for name in ("a", "b", "c", "d"):
        folder.happened("started", name, attempt=1)
    folder.append(make_trial("a"))
    for attempt in (1, 2):
        error, traceback = "killed", f"tracebacks/b-{attempt}.txt"
        folder.happened("lost", "b", attempt=attempt, reason="process lost", error=error, traceback=traceback)
        folder.happened("started", "b", attempt=attempt + 1)
    outcome = {"state": "failed", "error": "no good"}
    folder.happened("ended", "b", attempt=3, outcome=outcome, traceback="tracebacks/b-3.txt")
    folder.happened("lost", "d", attempt=1, reason="hung", error="hung", traceback=None)
    return folder


def test_a_sweep_that_runs(begun):
    progress = progress_of(begun.state(), ALIVE)
    assert (progress.state, progress.planned, progress.running, progress.waiting) == ("running", 18, 1, 15)
    assert progress.ended == {"completed": 1, "failed": 1}
    assert progress.lost == {"process lost": 2, "hung": 1}
    assert progress.merges_planned == 12
    (failure,) = progress.failures
    assert (failure.attempts, failure.error, failure.traceback) == (3, "no good", "tracebacks/b-3.txt")
    assert standing(progress) == "running, by process 7 on a"
    assert missing(progress) == "running when this was written: 2 of 18 trials have ended"
    assert lost(progress) == "3 attempts were lost (2 process lost, 1 hung)"
    assert merges(progress) == "0 of 12 merged points"


def test_nothing_runs_once_its_driver_is_gone(begun):
    gone = progress_of(begun.state())
    assert (gone.state, gone.running, gone.waiting) == ("abandoned", 0, 16)
    assert standing(gone) == "its driver is gone; the same command goes on"
    silent = progress_of(begun.state(), replace(ALIVE, silent=True))
    assert (silent.state, silent.running) == ("abandoned", 0)
    assert standing(silent) == "its driver, process 7 on a, is silent; the same command goes on"


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        ("interrupted", "interrupted; the same command goes on"),
        ("failed", "failed, see tracebacks/driver-1.txt; the same command goes on"),
    ],
)
def test_a_sweep_as_its_driver_left_it(begun, closed, said):
    begun.happened("driver", closed=closed)
    progress = progress_of(begun.state(), traceback="tracebacks/driver-1.txt")
    assert standing(progress) == said
    assert missing(progress) == f"{closed}: 2 of 18 trials have ended"
    assert (progress.running, progress.waiting) == (0, 16)
    held = progress_of(begun.state(), ALIVE)
    assert ("process 7 on a holds it" in standing(held)) == (closed == "interrupted")


def test_a_sweep_that_an_error_stopped_after_its_trials_is_not_whole(demo):
    demo.happened("driver", closed="failed")
    assert standing(progress_of(demo.state())).startswith("failed: no trial completed")
    stopped = progress_of(demo.state(), traceback="tracebacks/driver-1.txt")
    assert missing(stopped) == "failed: 20 of 20 trials have ended"


def test_of_a_whole_sweep_nothing_is_missing(demo):
    demo.happened("driver", closed="completed")
    progress = progress_of(demo.state())
    assert (progress.state, standing(progress), progress.waiting) == ("completed", "completed", 0)
    assert missing(progress) is lost(progress) is merges(progress) is None


def test_merged_points_follow_from_the_trials_that_left_a_policy(folder, make_space, make_trial):
    grids = {"line": {"method": "linear", "weights": [0.2, 0.8], "of": ["adamw"]}}
    folder.create(make_space(families=["tiny-llama"], design={"blocks": 1}, posthoc=grids))
    folder.append(make_trial("a", policy_path="there"))
    folder.append(make_trial("b", label="ondare", policy_path="there"))
    folder.append(make_trial("c", label="onties", state="failed"))
    folder.append(make_trial("a+line-0", kind="posthoc", parent="a", label="adamw+line"))
    progress = progress_of(folder.state())
    assert (progress.planned, progress.ended_count) == (3, 3)
    assert merges(progress) == "1 of 2 merged points"
    assert missing(progress) == "its driver is gone: 3 of 3 trials have ended, 1 of 2 merged points"
    folder.happened("reclaimed", "a", what="policy", bytes=7)  # from which no more points are planned
    assert merges(progress_of(folder.state())) == "1 of 1 merged points"


def test_a_space_of_another_omsweep_has_no_plan(folder, make_space, make_trial):
    folder.create(make_space(design={"blocks": 1, "match": "displacement"}))
    folder.append(make_trial("a"))
    propose(folder, "b")
    progress = progress_of(folder.state())
    assert (progress.planned, progress.merges_planned, progress.waiting) == (None, None, 1)
    assert ended(progress) == "1 trial has ended"


def test_a_former_sweep_does_not_say_how_it_was_left(begun):
    former = begun.state()._replace(epoch=0, closed="completed")
    assert isinstance(former, SweepState)
    progress = progress_of(former)
    assert standing(progress) == "from before omsweep kept a log: it can be reported, not gone on with"
    assert missing(progress) == "unfinished: 2 of 18 trials have ended"


def test_who_holds_a_sweep(folder, monkeypatch):
    folder.path.mkdir(parents=True)
    assert Driver.of(folder.files) is None
    elsewhere = Owner(host="far", machine="far", pid=3, start=1)
    lease = Lease.take(folder.files, owner=elsewhere)
    assert Driver.of(folder.files) == Driver(name="process 3 on far")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 90)
    assert Driver.of(folder.files) == Driver(name="process 3 on far", silent=True)
    monkeypatch.undo()
    lease.release()
    assert Driver.of(folder.files) is None
    own = Lease.take(folder.files)
    assert own.owner.pid == os.getpid()
    assert Driver.of(folder.files) is None
    own.release()
