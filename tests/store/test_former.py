"""Sweeps from before the log: what their files say becomes events, and what is broken is named."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from omsweep.preferences.settings import PreferenceData
from omsweep.store.events import DamagedLog, encode, scan
from omsweep.store.folder import SweepFolder
from omsweep.store.former import data_key, former_events
from omsweep.store.records import TrialRecord
from omsweep.store.state import SweepState, fold

DESCRIPTION = {
    "name": "demo",
    "created": "2026-11-25T12:00:00+00:00",
    "resolved": {"mode": "compare", "objectives": {}},
    "contamination": [{"share": 0.5}],
}


def trial(trial_id: str, **changes: Any) -> dict[str, Any]:
    known = {"state": "completed", "family": "tiny-llama", "method": "adamw", "reward": 0.5, "tax": 1.0}
    return TrialRecord(trial_id=trial_id, **(known | changes)).to_json()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "sweep.json").write_text(json.dumps(DESCRIPTION))
    return folder


def write_trials(path: Path, *lines: Any) -> None:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (path / "trials.jsonl").write_text("\n".join(texts) + "\n")


def state_of(path: Path) -> SweepState:
    return fold(former_events(path))


def test_a_former_sweep_is_read(path: Path) -> None:
    trials = [
        trial("b", mlflow_run_id="f0" * 16, attempts=1),
        trial("a", state="failed", reward=None, tax=None, error="no room"),
        trial("c", kind="posthoc", parent="b", reward=0.7, tax=2.0, sft_seed=3),
    ]
    write_trials(path, *trials)
    (path / "references.json").write_text(json.dumps({"tiny-llama": {"tax": 0.0}, "tiny-llama#3": {"tax": 1.0}}))
    (path / "front.json").write_text(
        json.dumps({"members": [{"trial_id": "c", "reward_report": 0.6}, {"trial_id": "b"}]})
    )
    state = state_of(path)
    assert [record.to_json() for record in state.records()] == trials
    assert dict(state.counts) == {"completed": 2, "failed": 1}
    assert [one.trial_id for one in state.fronts["tiny-llama"]] == ["b", "c"]
    assert state.references() == {"tiny-llama": {"tax": 0.0}, "tiny-llama#3": {"tax": 1.0}}
    assert {name: scores["reward"] for name, scores in state.report_scores().items()} == {"c": 0.6}
    assert (state.created["created"], state.closed) == (1795608000.0, "completed")
    assert (state.created["name"], state.resolved["mode"]) == ("demo", "compare")
    folder = SweepFolder(path.parent, "demo")
    assert folder.sweep()["created"] == DESCRIPTION["created"]
    assert folder.sweep()["contamination"] == DESCRIPTION["contamination"]


def test_its_events_can_be_a_log(path: Path) -> None:
    write_trials(path, trial("a"), trial("b", tax=0.5))
    events = list(former_events(path))
    found = scan(b"".join(map(encode, events)))
    assert not found.damage
    assert fold(found.events).records() == state_of(path).records()


def test_of_a_repeated_trial_the_last_record_counts(path: Path) -> None:
    write_trials(path, trial("a", tax=3.0), trial("b"), "", trial("a", tax=2.0))
    assert [(record.trial_id, record.tax) for record in state_of(path).records()] == [("b", 1.0), ("a", 2.0)]


def test_a_torn_line_is_skipped_in_words(path: Path) -> None:
    write_trials(path, trial("a"), json.dumps(trial("b"))[:40])
    with pytest.warns(UserWarning, match="trials.jsonl:2: torn line skipped"):
        assert [record.trial_id for record in state_of(path).records()] == ["a"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[1]", "a trial must be a JSON object, got [1]"),
        ("null", "a trial must be a JSON object, got None"),
        ("{}", ""),
        ('{"trial_id": "a", "state": "finished", "family": "x"}', "state"),
    ],
)
def test_a_line_that_is_no_trial_is_named(path: Path, line: str, told: str) -> None:
    write_trials(path, trial("a"), line)
    with pytest.raises(DamagedLog, match=rf"trials\.jsonl:2: .*{re.escape(told)}"):
        state_of(path)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"members": 3}', '{"members": [{"reward_report": 1.0}, 7]}', "null"]
)
def test_a_broken_front_costs_the_report_split_alone(path: Path, content: str) -> None:
    write_trials(path, trial("a"))
    (path / "front.json").write_text(content)
    with pytest.warns(UserWarning, match="front.json cannot be read, scores on the report split are missing"):
        state = state_of(path)
    assert [record.trial_id for record in state.records()] == ["a"]


def test_a_front_of_trials_that_are_gone_is_read(path: Path) -> None:
    (path / "front.json").write_text(json.dumps({"members": [{"trial_id": "gone", "reward_report": 1.0}]}))
    assert state_of(path).report_scores() == {}


@pytest.mark.parametrize("name", ["sweep.json", "references.json"])
@pytest.mark.parametrize("content", ["{", "[]"])
def test_another_broken_file_is_named(path: Path, name: str, content: str) -> None:
    (path / name).write_text(content)
    with pytest.raises(ValueError, match=name):
        state_of(path)


def test_numbers_that_are_none(path: Path) -> None:
    write_trials(path, trial("a") | {"tax": math.nan}, trial("b"))
    assert [one.trial_id for one in state_of(path).fronts["tiny-llama"]] == ["b"]


@pytest.mark.parametrize("created", [None, "yesterday", "2026-11-25T12:00:00"])
def test_a_time_that_cannot_be_read_is_no_reason_to_stop(path: Path, created: str | None) -> None:
    (path / "sweep.json").write_text(json.dumps(DESCRIPTION | {"created": created}))
    assert state_of(path).created["name"] == "demo"


def test_data_of_a_trial_that_a_former_version_logged_are_those_of_today() -> None:
    for settings in (PreferenceData(name="tiny"), PreferenceData(path="pairs.jsonl", limit=3, max_dropped_share=0.5)):
        of_today = settings.as_mapping()
        logged = json.dumps({name: of_today[name] for name in of_today if name != "max_dropped_share"}, sort_keys=True)
        assert data_key(logged) == data_key(json.dumps(of_today)) == settings.key == data_key(settings.key)
    assert data_key("") == ""
