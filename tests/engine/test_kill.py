"""A driver that is killed at any write, rename or sync of a sweep, and a log that is cut anywhere near its end.

The real store, plan, results and driver; what trains and scores are stand-ins in the same process. After the same
command again nothing is lost, nothing doubled and nothing different from an undisturbed sweep but times and attempts.
"""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from omsweep.engine import opened
from omsweep.engine import run as driver
from omsweep.space.build import build_space
from omsweep.store import lease
from omsweep.store.folder import SweepFolder
from omsweep.store.storage import EVENTS
from tests.driven_sweep import found
from tests.inline_executor import InlineExecutor
from tests.stub_work import STUB

COMPARE: dict[str, Any] = {
    "name": "small",
    "mode": "compare",
    "families": ["tiny-llama"],
    "space": {
        "algorithm": "dpo",
        "learning_rate": 4e-4,
        "beta": 0.1,
        "method": {"adamw": {}, "ondare": {"semantics": "equations", "tau_travel": 0.05, "density": 0.5}},
    },
    "design": {"blocks": 1, "seeds": 2},
    "posthoc": {"line": {"method": "linear", "weights": [0.5], "of": ["adamw"]}},
    "train": {"steps": 12, "batch_size": 8, "backend": "inprocess"},
}
SEARCH = {name: value for name, value in COMPARE.items() if name not in ("design", "posthoc")} | {
    "mode": "search",
    "search": {"trials": 8, "startup_trials": 3},
    "space": COMPARE["space"] | {"learning_rate": {"loguniform": [1e-4, 1e-3]}},
}


class Killed(BaseException):
    """The process is gone; nothing of it runs any more."""


class Disk:
    """Counts the calls with which a process changes what is on the disk, and ends it at the one it is told."""

    CALLS = ("write", "fsync", "link", "replace", "unlink", "rename")

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count, self.dies_at = 0, -1
        for name in self.CALLS:
            patch.setattr(os, name, self._counted(getattr(os, name), torn=name == "write"))

    def _counted(self, call: Any, *, torn: bool) -> Any:
        def counted(*given: Any, **named: Any) -> Any:
            self.count += 1
            if 0 <= self.dies_at < self.count:
                if torn and self.count == self.dies_at + 1:
                    call(given[0], given[1][: len(given[1]) // 2])
                raise Killed
            return call(*given, **named)

        return counted


@pytest.fixture(autouse=True)
def alone(no_sink: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No MLflow, no pictures, and owners of a lease that are dead as soon as their sweep was killed."""
    monkeypatch.setattr(opened, "revision", dict)  # git, four times
    monkeypatch.setattr(lease, "BEAT_SECONDS", 1e6)
    here = lease.Owner.here()
    monkeypatch.setattr(lease.Owner, "here", lambda: replace(here, start=-1))


def run(made: dict[str, Any], storage: Path) -> list[tuple[str, str]]:
    """Run or resume; what was done."""
    ran: list[tuple[str, str]] = []
    code = driver.run_sweep(build_space(made), "s", storage, work=STUB, connected=InlineExecutor.connected(ran))
    assert code == 0
    return ran


@pytest.fixture(scope="module", params=[COMPARE, SEARCH], ids=["compare", "search"])
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return request.param, tmp_path_factory.mktemp("undisturbed")


def test_killed_anywhere(undisturbed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, whole = undisturbed
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        done = run(made, whole)
        calls = disk.count
    expected = found(whole)
    assert calls > 60
    for n in range(0, calls, 1 if made is COMPARE else 3):
        storage = tmp_path / str(n)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch)
            disk.dies_at = n
            try:
                run(made, storage)
            except Killed:
                pass
            else:
                pytest.fail(f"call {n} of {calls} killed nothing")
        ended = ended_in(storage)
        again = run(made, storage)
        assert found(storage) == expected, n
        assert not ended & {trial_id for what, trial_id in again if what != "score"}, n
        assert all(count == 1 for count in Counter(again).values()), n
        if n % 20 == 0:
            same_tables(whole, storage)
    assert len(done) == len(set(done))


def test_a_finished_sweep_is_left_as_it_is(undisturbed: Any, tmp_path: Path) -> None:
    made, _ = undisturbed
    run(made, tmp_path)
    before = found(tmp_path)
    assert run(made, tmp_path) == []
    assert found(tmp_path) == before


def test_a_log_cut_at_every_byte_of_its_last_two_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(COMPARE, tmp_path)
    expected, log = found(tmp_path), tmp_path / "s" / EVENTS
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # hundreds of sweeps, none of which loses power
    text = log.read_bytes()
    lines = text.splitlines(keepends=True)
    kept = text[: len(text) - sum(map(len, lines[-2:]))]
    for length in range(len(kept), len(text)):
        log.write_bytes(text[:length])
        with pytest.MonkeyPatch.context() as patch:
            if length % 50:
                patch.setattr(driver, "write_report", lambda *_: None)
            run(COMPARE, tmp_path)
        state = SweepFolder(tmp_path, "s").state()
        assert (state.closed, dict(state.counts), len(state.report_scores())) == ("completed", {"completed": 6}, 6), (
            length
        )
        if not length % 50:
            assert found(tmp_path) == expected, length


def ended_in(storage: Path) -> set[str]:
    try:
        return {one.trial_id for one in SweepFolder(storage, "s").state().ended()}
    except FileNotFoundError:
        return set()


def same_tables(whole: Path, storage: Path) -> None:
    for file in sorted((whole / "s" / "scores").iterdir()):
        pd.testing.assert_frame_equal(pd.read_parquet(file), pd.read_parquet(storage / "s" / "scores" / file.name))
