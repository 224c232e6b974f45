"""A sweep that is gone on with: by another driver, with other versions, from inputs that changed. Without Ray."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omsweep.commands.retry import retry
from omsweep.engine import opened
from omsweep.engine import run as driver
from omsweep.report import captions
from omsweep.results.view import read_view
from omsweep.space.build import build_space
from omsweep.store.folder import SweepFolder
from tests import stub_work
from tests.inline_executor import InlineExecutor

pytestmark = pytest.mark.usefixtures("no_sink")
MADE: dict[str, Any] = {
    "name": "small",
    "mode": "compare",
    "families": ["tiny-llama"],
    "space": {"algorithm": "dpo", "learning_rate": 4e-4, "beta": 0.1, "method": {"adamw": {}}},
    "design": {"blocks": 1},
    "train": {"steps": 2, "batch_size": 8, "backend": "inprocess"},
}


def run(made: dict[str, Any], storage: Path, work: Any = stub_work.STUB) -> tuple[int, list[tuple[str, str]]]:
    ran: list[tuple[str, str]] = []
    return driver.run_sweep(build_space(made), "s", storage, work=work, connected=InlineExecutor.connected(ran)), ran


def interrupted(*given: Any, **named: Any) -> Any:
    raise KeyboardInterrupt


def broken_off(made: dict[str, Any], storage: Path) -> SweepFolder:
    """A sweep whose driver was interrupted in its first trial."""
    assert run(made, storage, replace(stub_work.STUB, session=interrupted))[0] == 130
    return SweepFolder(storage, "s")


def test_an_input_that_changed_is_refused_before_anything_runs(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("one")
    made = MADE | {"evaluate": {"reward": {"prompts": str(prompts)}}}
    folder = broken_off(made, tmp_path)
    known = folder.state().created["inputs"]["evaluate.reward.prompts"]
    assert known["path"] == str(prompts)
    prompts.write_text("two")
    with pytest.raises(
        ValueError, match=f"evaluate.reward.prompts {prompts} has SHA-256 .* and had .*{known['sha256']}"
    ):
        run(made, tmp_path, replace(stub_work.STUB, prepare=interrupted))
    prompts.write_text("one")
    assert run(made, tmp_path)[0] == 0


def test_models_that_changed_are_refused_before_a_trial_starts(tmp_path: Path) -> None:
    folder = broken_off(MADE, tmp_path)

    def other(wanted: Any, progress: Any) -> Any:
        models, table = stub_work.prepare(wanted, progress)
        return models.model_copy(update={"weights_hash": "cd"}), table

    before = len(folder.state().trials)
    with pytest.raises(ValueError, match="weights_hash of tiny-llama is 'ab' there and 'cd' here"):
        run(MADE, tmp_path, replace(stub_work.STUB, prepare=other))
    assert len(folder.state().trials) == before


def test_other_versions_of_driver_and_node_are_said_in_a_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opened, "versions", lambda: {"torch": "1", "platform": "p"})
    monkeypatch.setattr(opened, "revision", lambda: {"git_revision": "abc", "git_modified": False})
    folder = broken_off(MADE, tmp_path)
    assert "versions" not in capsys.readouterr().out
    assert folder.state().driver["git_revision"] == "abc"
    monkeypatch.setattr(opened, "versions", lambda: {"torch": "2", "platform": "q"})
    monkeypatch.setattr(opened, "revision", lambda: {"git_revision": "def", "git_modified": False})

    def elsewhere(wanted: Any, progress: Any) -> Any:
        models, table = stub_work.prepare(wanted, progress)
        return models.model_copy(update={"versions": {"torch": "3", "platform": "r"}}), table

    assert run(MADE, tmp_path, replace(stub_work.STUB, prepare=elsewhere))[0] == 0
    said = capsys.readouterr().out
    assert "the last driver of this sweep had other versions: torch 1 there and 2 here, git_revision abc there" in said
    assert "nodes that prepared have other versions than the driver: torch 3 there and 2 here" in said
    assert next(iter(folder.state().prepared.values()))["models"]["versions"]["torch"] == "3"


def test_a_failed_trial_is_tried_again_when_that_is_asked(tmp_path: Path) -> None:
    """By itself the same command leaves it; after `omsweep retry` it runs, and the others do not."""

    def broken(spec: Any, *given: Any, **named: Any) -> Any:
        if spec.label == "ondare":
            raise RuntimeError("out of luck")
        return stub_work.session(spec, *given, **named)

    methods = {"adamw": {}, "ondare": {"semantics": "equations", "tau_travel": 0.05, "density": 0.5}}
    made = MADE | {"space": MADE["space"] | {"method": methods}}
    assert run(made, tmp_path, replace(stub_work.STUB, session=broken))[0] == 0
    folder = SweepFolder(tmp_path, "s")
    [failed] = [one.trial_id for one in folder.trials() if one.state == "failed"]
    assert run(made, tmp_path) == (0, [])
    retry(folder, [failed], why="the weather")
    assert run(made, tmp_path) == (0, [("train", failed), ("score", failed)])
    [again] = [one for one in folder.trials() if one.trial_id == failed]
    assert (again.state, again.attempts, again.error) == ("completed", 2, None)
    assert dict(folder.state().counts) == {"completed": 2}


def test_a_budget_that_is_used_up_ends_a_sweep_and_raising_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = MADE | {"design": {"blocks": 5}, "budget": {"trials": 2}}
    code, ran = run(made, tmp_path)
    assert (code, [what for what, _ in ran]) == (0, ["train", "train", "score", "score"])
    used_up = "the budget is used up (budget.trials: 2 of 2 trials); 3 trials were not started"
    assert f"no more trials: {used_up}" in capsys.readouterr().out
    folder = SweepFolder(tmp_path, "s")
    view = read_view(folder)
    assert folder.state().closed == "completed"
    assert (view.progress.not_started, view.progress.waiting, view.progress.unfinished) == (3, 0, False)
    assert captions.standing(view.progress) == f"completed; {used_up}"
    assert captions.missing(view.progress) == used_up
    assert folder.sweep()["spent"]["said"] == used_up
    assert run(made, tmp_path) == (0, [])
    assert f"sweep s is finished: {used_up}; its report is written again" in capsys.readouterr().out
    code, ran = run(made | {"budget": {"trials": 3}}, tmp_path)
    assert (code, [what for what, _ in ran]) == (0, ["train", "score"])
    code, ran = run(made | {"budget": {}}, tmp_path)
    assert (code, [what for what, _ in ran]) == (0, ["train", "train", "score", "score"])
    assert "spent" not in folder.sweep()
    assert len(folder.trials()) == 5
    assert "used up" not in captions.standing(read_view(folder).progress)


def test_what_a_budget_admitted_is_finished_by_the_next_driver(tmp_path: Path) -> None:
    made = MADE | {"design": {"blocks": 3}, "budget": {"trials": 1}}
    folder = broken_off(made, tmp_path)
    assert run(made, tmp_path)[0] == 0
    [trial] = folder.trials()
    assert trial.attempts == 2


def test_what_was_made_and_what_the_cache_had_is_in_the_log_once(tmp_path: Path) -> None:
    """The next driver finds all of it in the cache, which makes no other models of them."""
    made = {"tokens": True, "SFT scores": False}

    def prepare(wanted: Any, progress: Any) -> Any:
        models, table = stub_work.prepare(wanted, progress)
        return models.model_copy(update={"made": dict(made)}), table

    work = replace(stub_work.STUB, prepare=prepare)
    assert run(MADE, tmp_path, replace(work, session=interrupted))[0] == 130
    made["tokens"] = False
    assert run(MADE, tmp_path, work)[0] == 0
    state = SweepFolder(tmp_path, "s").state()
    assert state.prepared["tiny-llama"]["made"] == {"tokens": True, "SFT scores": False}
