"""A sweep that starts from an earlier one's results: what is not run again, and what is refused. Without Ray."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from omsweep.engine import forked
from omsweep.engine import run as driver
from omsweep.plan.optuna import StudyProposer
from omsweep.space.build import build_space
from omsweep.store.folder import SweepFolder
from omsweep.store.log import SweepLog
from tests import stub_work
from tests.engine.test_kill import COMPARE, SEARCH
from tests.inline_executor import InlineExecutor

pytestmark = pytest.mark.usefixtures("no_sink")
MORE = COMPARE | {"design": {"blocks": 1, "seeds": 3}}
"""`COMPARE` with a third seed: four of its six trained trials are there, and two of its three points."""
FREE = SEARCH | {"search": {"trials": 4, "startup_trials": 3, "seed": 0}}
KINDS = {"compare": (COMPARE, MORE), "search": (SEARCH, FREE)}


def run(
    made: dict[str, Any], storage: Path, name: str = "new", *, work: Any = stub_work.STUB, old: str | None = "old"
) -> list[str]:
    """Run or fork; which trials were trained or merged."""
    ran: list[tuple[str, str]] = []
    fork = None if old is None else SweepFolder(storage, old)
    connected = InlineExecutor.connected(ran)
    assert driver.run_sweep(build_space(made), name, storage, work=work, fork=fork, connected=connected) == 0
    return [trial_id for what, trial_id in ran if what != "score"]


def results(storage: Path, name: str) -> dict[str, dict[str, Any]]:
    return {one.trial_id: one.to_json() for one in SweepFolder(storage, name).trials()}


def test_trials_of_a_design_that_are_there_are_not_run_again(tmp_path: Path) -> None:
    run(COMPARE, tmp_path, "old", old=None)
    ran = run(MORE, tmp_path)
    assert ran == ["tiny-llama-b0-s2-adamw", "tiny-llama-b0-s2-ondare", "tiny-llama-b0-s2-adamw+line-0"]
    old, new = results(tmp_path, "old"), results(tmp_path, "new")
    assert new.keys() == {*old, *ran}
    assert {trial_id: new[trial_id] for trial_id in old} == old
    for trial_id in old:
        tables = [SweepFolder(tmp_path, name).scores(trial_id) for name in ("old", "new")]
        pd.testing.assert_frame_equal(*tables)
    assert str(new["tiny-llama-b0-s0-adamw"]["policy_path"]).startswith(str(tmp_path / "old"))
    origin = SweepFolder(tmp_path, "new").state().created["forked_from"]
    assert (origin["name"], sorted(origin["trials"])) == ("old", sorted(old))
    assert run(MORE, tmp_path, "whole", old=None)
    own = ("seconds", "policy_path", "mlflow_run_id")
    whole = results(tmp_path, "whole")
    for name in own:
        for one in (*whole.values(), *new.values()):
            one.pop(name)
    assert whole == new


def test_policies_of_the_earlier_sweep_are_never_removed(tmp_path: Path) -> None:
    run(COMPARE, tmp_path, "old", old=None)
    before = sorted((tmp_path / "old" / "policies").iterdir())
    run(MORE | {"keep": {"policies": "none"}}, tmp_path)
    assert sorted((tmp_path / "old" / "policies").iterdir()) == before
    assert not list((tmp_path / "new" / "policies").iterdir())


def test_points_whose_policy_was_removed_are_taken_over_too(tmp_path: Path) -> None:
    run(COMPARE | {"keep": {"policies": "none"}}, tmp_path, "old", old=None)
    assert results(tmp_path, "old")["tiny-llama-b0-s0-adamw"]["policy_path"] is None
    assert run(COMPARE, tmp_path) == []
    assert results(tmp_path, "new").keys() == results(tmp_path, "old").keys()


def test_a_search_knows_what_was_found_and_counts_its_own_trials(tmp_path: Path) -> None:
    run(SEARCH, tmp_path, "old", old=None)
    narrow = SEARCH["space"] | {"learning_rate": {"loguniform": [1e-4, 5e-4]}}
    made = FREE | {"space": narrow}
    old = results(tmp_path, "old")
    inside = [trial_id for trial_id, one in old.items() if one["params"]["learning_rate"] <= 5e-4]
    assert 0 < len(inside) < len(old) == 8
    ran = run(made, tmp_path)
    new = results(tmp_path, "new")
    assert len(ran) == 4
    assert new.keys() == {*inside, *ran}
    assert [trial_id.split("-")[2] for trial_id in ran] == ["008", "009", "010", "011"]
    state = SweepFolder(tmp_path, "new").state()
    study = StudyProposer(build_space(made), state).studies["tiny-llama"]
    assert len(study.trials) == len(inside) + 4
    first = [trial.values[0] for trial in study.trials[: len(inside)]]
    assert sorted(first) == sorted(old[trial_id]["reward"] for trial_id in inside)
    assert [one.drawn["proposal"] for one in state.proposed() if one.drawn][len(inside) :] == ["model"] * 4
    assert run(made | {"search": FREE["search"] | {"trials": 4}}, tmp_path) == []


def test_a_fork_of_a_fork_repeats_no_number(tmp_path: Path) -> None:
    run(SEARCH, tmp_path, "old", old=None)
    run(FREE, tmp_path, "new")
    ran = run(FREE, tmp_path, "newer", old="new")
    assert [trial_id.split("-")[2] for trial_id in ran] == ["012", "013", "014", "015"]
    assert len(results(tmp_path, "newer")) == 16


@pytest.mark.parametrize("kind", KINDS)
def test_a_driver_killed_while_it_takes_over_is_gone_on_with(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = KINDS[kind]
    run(old, tmp_path, "old", old=None)
    expected = sorted(run(new, tmp_path, "whole"))
    append = SweepLog.append

    def killed(self: SweepLog, event: str, **data: Any) -> Any:
        if event == "ended" and len(self.state.ended()) == 3:
            raise SystemExit
        return append(self, event, **data)

    with monkeypatch.context() as patch:
        patch.setattr(SweepLog, "append", killed)
        with pytest.raises(SystemExit):
            run(new, tmp_path)
    assert sorted(run(new, tmp_path, old=None)) == expected
    found = [results(tmp_path, name) for name in ("whole", "new")]
    assert found[0].keys() == found[1].keys()
    assert [one["reward"] for one in found[0].values()] == [found[1][name]["reward"] for name in found[0]]


def test_a_failed_trial_is_run_again_and_a_diverged_one_is_not(tmp_path: Path) -> None:
    def failing(spec: Any, *given: Any, **named: Any) -> Any:
        if spec.trial_id == "tiny-llama-b0-s0-adamw":
            raise RuntimeError("no")
        made = stub_work.session(spec, *given, **named)
        diverged = spec.trial_id == "tiny-llama-b0-s1-adamw"
        return made.model_copy(update={"state": "diverged", "policy_path": None}) if diverged else made

    run(COMPARE, tmp_path, "old", work=replace(stub_work.STUB, session=failing), old=None)
    assert run(COMPARE, tmp_path) == ["tiny-llama-b0-s0-adamw", "tiny-llama-b0-s0-adamw+line-0"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evaluate": {"samples": 2}}, "evaluate.samples is 4 there and 2 here"),
        ({"objectives": {"tax": "tax_worst"}}, "objectives.tax is 'tax' there and 'tax_worst' here"),
        ({"space": COMPARE["space"] | {"beta": 0.2}}, "tiny-llama-b0-s0-adamw: params.beta is 0.1 there and 0.2 here"),
        ({"design": {"seed": 9}}, "tiny-llama-b0-s0-adamw: seed is"),
    ],
)
def test_what_differs_is_named_and_nothing_is_left(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    run(COMPARE, tmp_path, "old", old=None)
    with pytest.raises(ValueError, match=said):
        run(COMPARE | changes, tmp_path)
    assert not (tmp_path / "new").exists()


def test_other_models_inputs_and_modes_are_refused(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("one")
    made = COMPARE | {"evaluate": {"reward": {"prompts": str(prompts)}}}
    run(made, tmp_path, "old", old=None)

    def other(wanted: Any, progress: Any) -> Any:
        models, table = stub_work.prepare(wanted, progress)
        return models.model_copy(update={"weights_hash": "cd"}), table

    with pytest.raises(ValueError, match="old was trained from other models: weights_hash of tiny-llama"):
        run(made, tmp_path, work=replace(stub_work.STUB, prepare=other))
    with pytest.raises(ValueError, match="mode is 'compare' there and 'search' here"):
        run(SEARCH, tmp_path)
    prompts.write_text("two")
    with pytest.raises(ValueError, match="old was made from other data: evaluate.reward.prompts"):
        run(made, tmp_path)
    with pytest.raises(FileNotFoundError, match="no sweep in"):
        run(made, tmp_path, old="missing")
    assert not (tmp_path / "new").exists()


def test_a_sweep_that_exists_is_not_forked_into(tmp_path: Path) -> None:
    run(COMPARE, tmp_path, "old", old=None)
    run(COMPARE, tmp_path, "new", old=None)
    with pytest.raises(ValueError, match="sweep new exists and was not forked from"):
        run(COMPARE, tmp_path)


def test_tables_are_copied_where_they_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(COMPARE, tmp_path, "old", old=None)

    def refused(*_: Any) -> None:
        raise OSError

    table = next((tmp_path / "old" / "scores").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(forked.os, "link", refused)
        forked._bring(table, tmp_path / "scores")
    assert [one.name for one in (tmp_path / "scores").iterdir()] == [table.name]
    assert (tmp_path / "scores" / table.name).read_bytes() == table.read_bytes()
