"""The fold: one event at a time it knows what a look at everything would find, and no event breaks it."""

import math
import random
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omsweep.results import front as front_module
from omsweep.results.objectives import Objectives
from omsweep.store.events import Event, decode, encode, scan
from omsweep.store.records import TrialRecord, TrialSpec
from omsweep.store.state import KINDS, SweepState, apply, family_key, fold
from tests.store.logs.make import LOG, spec

EVENTS = scan(LOG.read_bytes()).events
VALUES = (-1.0, 0.0, 0.5, 0.5, 1.0, 2.0, 25.0, None, math.nan, math.inf)
"""Few, so that there are ties; one beyond the reference point; such as are no number."""


def events(*happened: tuple[str, str | None, Mapping[str, Any]]) -> list[Event]:
    return [
        Event(seq, 1, float(seq), kind, trial_id, 1, data)
        for seq, (kind, trial_id, data) in enumerate(happened, start=1)
    ]


def random_sweep(seed: int, objectives: Mapping[str, Any], trials: int = 60) -> list[Event]:
    """Proposals and ends in mixed order, of three families."""
    draw = random.Random(seed)
    reward, tax = objectives.get("reward", "reward"), objectives.get("tax", "tax")
    happened: list[tuple[str, str | None, Mapping[str, Any]]] = [
        ("created", None, {"resolved": {"objectives": objectives}})
    ]
    ids = [f"t{number}" for number in range(trials)]
    for trial_id in ids:
        happened.append(("proposed", trial_id, {"trial": spec("adamw", family=draw.choice(["x", "y", "z"]))}))
    draw.shuffle(ids)
    for trial_id in ids[:-5]:
        state = draw.choices(["completed", "stopped", "diverged", "failed"], [6, 2, 1, 1])[0]
        outcome = {"state": state, reward: draw.choice(VALUES), tax: draw.choice(VALUES)}
        happened += [("started", trial_id, {}), ("ended", trial_id, {"outcome": outcome})]
    return events(*happened)


@pytest.mark.parametrize("on_disk", [True, False], ids=["read", "in_memory"])
@pytest.mark.parametrize(
    "objectives", [{}, {"tax": "tax_worst", "reference_point": {"reward": -2.0, "tax": 3.0}}], ids=["default", "other"]
)
@pytest.mark.parametrize("seed", range(5))
def test_fronts_and_hypervolumes_are_those_of_the_records(
    seed: int, objectives: Mapping[str, Any], on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of events as they are read (where NaN is null), and of events that never were on a disk."""
    monkeypatch.setattr(front_module, "front_probability", lambda losses, errors: np.zeros(len(losses)))  # slow
    asked, state = Objectives.from_settings(objectives), SweepState()
    for number, event in enumerate(random_sweep(seed, objectives)):
        state = apply(state, decode(encode(event)[:-1]) if on_disk else event)
        if event.kind != "ended" or number % 7:
            continue
        records = state.records()
        summary = front_module.front_summary(records, asked)
        members = {family: sorted(one.trial_id for one in front) for family, front in state.fronts.items()}
        assert members == {family: sorted(content["members"]) for family, content in summary["families"].items()}
        volumes = {family: content["hypervolume"] for family, content in summary["families"].items()}
        assert state.hypervolumes() == pytest.approx(volumes)
        assert dict(state.counts) == summary["trials"] == Counter(record.state for record in records)


def test_members_are_sorted_by_tax_and_equals_stay() -> None:
    scores = {"a": (1.0, 0.5), "b": (0.5, 0.25), "c": (1.0, 0.5), "d": (1.0, 0.4), "e": (-0.5, -1.0), "f": (0.0, -0.1)}
    happened: list[Any] = [("proposed", name, {"trial": spec("adamw")}) for name in scores]
    for name, (tax, reward) in scores.items():
        happened.append(("ended", name, {"outcome": {"state": "completed", "tax": tax, "reward": reward}}))
    front = fold(events(*happened)).fronts["tiny-llama"]
    assert [(one.trial_id, one.tax_loss, one.reward_loss) for one in front] == [
        ("e", -0.5, 1.0),
        ("b", 0.5, -0.25),
        ("a", 1.0, -0.5),
        ("c", 1.0, -0.5),
    ]


@pytest.mark.parametrize("first", range(0, len(EVENTS) + 1, 3))
def test_folding_on_is_folding_all(first: int) -> None:
    start = fold(EVENTS[:first])
    kept = repr(start)
    assert fold(EVENTS[first:], start) == fold(EVENTS)
    assert repr(start) == kept, "a state is never changed"


def test_what_the_small_sweep_adds_up_to() -> None:
    state = fold(EVENTS)
    a, b, c = (state.trials[name] for name in "abc")
    assert (state.seq, state.epoch, state.time) == (25, 1, 1764460824.0)
    assert (state.created["name"], state.created["created"], state.resolved["mode"]) == (
        "demo",
        1764460800.0,
        "compare",
    )
    assert (state.run_id, state.closed, state.reclaimed) == ("f0" * 16, "completed", 1024)
    assert state.references() == {"tiny-llama": {"tax": 0.0}}
    assert [one.trial_id for one in state.proposed()] == ["a", "b", "c"]
    assert [one.trial_id for one in state.ended()] == ["a", "b", "c"]
    assert (a.phase, a.attempt, a.steps, a.run_id, a.traceback) == ("ended", 2, 4, "0a" * 16, None)
    assert [(one.attempt, one.reason, one.traceback) for one in a.lost] == [(1, "memory", "tracebacks/a-1.txt")]
    assert state.report_scores() == {"a": {"reward_report": 0.45, "tax_report": 1.5}}
    assert (b.drawn, b.phase, b.started) == ({"number": 1}, "ended", 1764460815.0)
    assert dict(state.counts) == {"completed": 2, "diverged": 1}
    assert (c.attempt, c.outcome and c.outcome["state"]) == (2, "completed")
    assert [one.trial_id for one in state.fronts["tiny-llama"]] == ["a", "c"]
    assert isinstance(a.spec, TrialSpec)
    record = a.record
    assert isinstance(record, TrialRecord)
    assert (record.trial_id, record.attempts, record.mlflow_run_id, record.reward) == ("a", 2, "0a" * 16, 0.5)
    assert (record.scores, record.seconds) == ({"math": 0.9}, {"train": 1.5})


def test_a_trial_on_its_way() -> None:
    phases = [(fold(EVENTS[:seq]).trials["a"].phase, fold(EVENTS[:seq]).trials["a"].steps) for seq in (4, 7, 8, 11, 14)]
    assert phases == [("proposed", 0), ("started", 0), ("started", 2), ("started", 4), ("trained", 4)]
    trained = fold(EVENTS[:14]).trials["a"].trained
    assert trained is not None
    assert trained["policy_path"] == "policies/a"


def test_records_come_in_the_order_they_ended() -> None:
    sweep = random_sweep(0, {})
    ended = [event.trial_id for event in sweep if event.kind == "ended"]
    assert [record.trial_id for record in fold(sweep).records()] == ended


def ended(state: str, **scores: float) -> Mapping[str, Any]:
    return {"outcome": {"state": state, **scores}}


def test_failed_trials_are_tried_again_and_others_are_not() -> None:
    happened: list[Any] = [("proposed", name, {"trial": spec("adamw")}) for name in "abc"]
    happened += [("ended", "a", ended("failed")), ("ended", "b", ended("completed", tax=1.0, reward=1.0))]
    state = fold(
        events(*happened, ("driver", None, {"closed": "failed"}), ("changed", None, {"retry": ["a", "b", "?"]}))
    )
    assert dict(state.counts) == {"completed": 1}
    assert [trial.phase for trial in state.proposed()] == ["proposed", "ended", "proposed"]
    assert [one.trial_id for one in state.fronts["tiny-llama"]] == ["b"]
    assert state.closed is None


def test_a_sweep_grows() -> None:
    state = fold(events(("created", None, {"resolved": {"design": {"blocks": 1}}, "name": "demo"})))
    after = apply(state, Event(2, 1, 2.0, "changed", data={"resolved": {"design": {"blocks": 3}}}))
    assert (after.resolved["design"]["blocks"], after.created["name"]) == (3, "demo")
    assert state.resolved["design"]["blocks"] == 1


def test_a_trial_ends_once() -> None:
    happened: list[Any] = [
        ("proposed", "a", {"trial": spec("adamw")}),
        ("ended", "a", ended("completed", tax=1.0, reward=1.0)),
    ]
    state = fold(events(*happened, ("ended", "a", ended("failed"))))
    assert dict(state.counts) == {"completed": 1}
    assert state.trials["a"].record.state == "completed"


@pytest.mark.parametrize("kind", [*sorted(KINDS.keys() - {"proposed", "created"}), "teleported"])
def test_events_of_an_unknown_trial_or_kind_change_nothing_but_the_place(kind: str) -> None:
    state = fold(EVENTS)
    after = apply(state, Event(99, 7, 1e10, kind, "nobody", 1, {}))
    followed = state._replace(began=None, used=state.used_until(state.time))  # whose driver another one has followed
    assert after == followed._replace(seq=99, epoch=7, time=1e10)


def test_unknown_fields_change_nothing() -> None:
    more = [event._replace(data={**event.data, "new_field": 1}) for event in EVENTS if event.kind != "created"]
    state, plain = fold([EVENTS[0], *more]), fold(EVENTS)
    assert state.records() == plain.records()
    outcome = {"state": "completed", "of_a_newer_omsweep": 1}
    happened = events(("proposed", "a", {"trial": spec("adamw")}), ("ended", "a", {"outcome": outcome}))
    assert fold(happened).trials["a"].record.state == "completed"


def test_family_keys() -> None:
    assert (family_key("x", None), family_key("x", 0), family_key("x", 3)) == ("x", "x#0", "x#3")


def test_the_cost_of_an_event_does_not_grow_with_the_sweep() -> None:
    """Counted, not timed: no event looks at a trial that is not its own."""

    class Counting(dict[str, Any]):
        looks = 0

        def __getitem__(self, key: str) -> Any:
            Counting.looks += 1
            return super().__getitem__(key)

    state = fold(random_sweep(0, {}, trials=300))
    last = max(state.trials, key=lambda name: state.trials[name].proposed)
    for trial_id, trial in state.trials.items():
        state = state._replace(trials=state.trials.set(trial_id, trial._replace(fields=Counting(trial.fields))))
    Counting.looks = 0
    for kind, data in (("started", {}), ("progress", {"first_step": 1, "losses": [0.5]}), ("ended", ended("failed"))):
        state = apply(state, Event(state.seq + 1, 1, 1.0, kind, last, 1, data))
    assert Counting.looks <= 3


def test_the_page_on_the_log_has_every_kind() -> None:
    page = (Path(__file__).parents[2] / "docs" / "log.md").read_text()
    table = page.split("| kind | data | says |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == sorted(KINDS)
