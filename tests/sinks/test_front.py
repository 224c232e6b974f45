"""Who is told of a change of the front, when it is drawn, and what its table says."""

import csv
import re
from pathlib import Path

from omsweep.sinks.data_sets import data_sets
from omsweep.sinks.front import Pace, drawn, front_digest, membership, models, ranks
from omsweep.store.state import apply, fold
from tests.sinks.story import REFERENCE, created, driver, ended, numbered, proposed, started

TRIALS = [("a", 0.5, 1.5), ("b", 0.6, 2.5), ("c", 0.4, 2.0), ("d", 0.55, 1.0), ("e", 0.9, 9.0)]


def happened(*, closed: str | None = None, **resolved):
    begun = [step for name, _, _ in TRIALS for step in (proposed(name), started(name))]
    ends = [ended(name, reward=reward, tax=tax, policy_path=f"/p/{name}") for name, reward, tax in TRIALS]
    return numbered(created(**resolved), REFERENCE, *begun, *ends, *([driver(closed=closed)] if closed else []))


def test_only_those_that_come_or_go_are_told():
    events = happened()
    before, told = fold(events[:-5]), []
    for event in events[-5:]:
        after = apply(before, event)
        told.append(list(membership(before, after, event.trial_id)))
        before = after
    assert told == [[("a", True)], [("b", True)], [("c", False)], [("d", True), ("a", False)], [("e", True)]]
    assert ranks(before) == {"d": 1, "b": 2, "e": 3}


def test_a_front_is_drawn_when_it_changed_and_not_too_often():
    events = happened(closed="completed")
    first, second, last = fold(events[:-5]), fold(events[:-1]), fold(events)
    pace = Pace()
    assert not pace.is_due(fold(events[:2]))  # no front yet
    assert pace.is_due(first)
    with pace.telling(first):
        pass
    assert not pace.is_due(first)
    assert not pace.is_due(second)  # another one, but it is early
    assert Pace(pace.told).is_due(second)  # of a later driver
    assert pace.is_due(last)  # a driver has ended
    assert front_digest(second) != front_digest(last)


def test_the_table_has_the_members_and_the_page_a_chart(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("omsweep.sinks.front.plotly_library", lambda: "")
    files = drawn(fold(happened()), tmp_path / "s")
    rows = list(csv.DictReader(files["front.csv"].splitlines()))
    assert [(row["front_rank"], row["trial_id"], row["reward"]) for row in rows] == [
        ("1", "d", "0.55"),
        ("2", "b", "0.6"),
        ("3", "e", "0.9"),
    ]
    assert files["front.html"].count('class="plotly-graph-div"') == 1
    assert re.search(r"reward .{0,6}0.55", files["front.html"])
    assert "<h2>f</h2>" in files["front.html"]


def test_models_are_the_members_as_the_space_asks():
    state = fold(happened(tracking={"log_models": "front", "weights": True, "registered_model": "best"}))
    assert [(one.trial_id, one.policy, one.weights, one.register) for one in models(state)] == [
        ("d", "/p/d", True, "best"),
        ("b", "/p/b", True, "best"),
        ("e", "/p/e", True, "best"),
    ]
    assert models(fold(happened(tracking={"log_models": "none"}))) == ()


def test_data_sets_have_the_hash_of_their_content_or_of_what_names_them():
    key = '{"hub": null, "name": null, "path": "/d/pairs.jsonl"}'
    summary = {"source": "preferences pairs.jsonl", "records": 12, "taken": 10, "dropped": {"empty": 2}}
    reference = {"scores": {"math": 0.9, "code": 0.5}}
    trial = proposed("a")
    trial[2]["trial"]["data"] = key
    begin = created(evaluate={"tax": "tiny", "reward": {"scorer": "x", "prompts": "/d/prompts.jsonl"}, "samples": 4})
    begin[2]["inputs"] = {
        "preferences.path": {"path": "/d/pairs.jsonl", "sha256": "ab" * 32},
        "evaluate.reward.prompts": {"path": "/d/prompts.jsonl", "sha256": "cd" * 32},
        "evaluate.data.gsm8k": {"path": "/d/gsm8k.jsonl", "sha256": "ef" * 32},
    }
    models_of = {"data": {key: {"dpo": "/c"}}, "records": [summary], "contamination": [{"items": 90}]}
    state = fold(
        numbered(begin, ("prepared", None, {"family": "f", "reference": reference, "models": models_of}), trial)
    )
    preferences, suite, items, prompts = data_sets(state, "a")
    assert items[:3] == ("gsm8k.jsonl tax data", "ef" * 8, "file")
    assert preferences[:3] == ("pairs.jsonl", "ab" * 8, "file")
    assert preferences.counts == {"records": 12, "taken": 10, "dropped": {"empty": 2}}
    assert (suite.name, suite.kind, suite.counts) == (
        "tiny tax suite",
        "built-in",
        {"categories": 2, "items_and_prompts": 90},
    )
    assert (prompts.name, prompts.digest, prompts.counts) == (
        "prompts.jsonl reward prompts",
        "cd" * 8,
        {"samples": 4},
    )
    assert data_sets(state) == (preferences, suite, items, prompts)
