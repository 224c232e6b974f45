"""A sweep is made once, gone on with under its own space only, and leaves nothing where it was refused."""

import threading
from pathlib import Path
from typing import Any

import pytest

from omsweep.engine.opened import create, differences, opened, refuse_another
from omsweep.store.folder import SweepFolder
from omsweep.store.log import SweepLog

SPACE: dict[str, Any] = {
    "name": "s",
    "design": {"blocks": 2, "seeds": 1},
    "train": {"steps": 10, "concurrent_trials": 2, "max_failures": 0},
    "keep": {"policies": "all"},
}


def with_(path: str, value: Any) -> dict[str, Any]:
    section, _, key = path.partition(".")
    return SPACE | {section: {**SPACE[section], key: value}}


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    made = SweepFolder(tmp_path, "s")
    with opened(made, SPACE, print) as log:
        create(log, "s", SPACE)
    return made


def test_a_sweep_that_was_refused_leaves_no_folder(tmp_path: Path) -> None:
    made = SweepFolder(tmp_path, "s")
    with pytest.raises(ValueError, match="no such suite"), opened(made, SPACE, print):
        raise ValueError("no such suite")
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_cannot_be_used_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    made = SweepFolder(tmp_path / "file" / "runs", "s")
    with pytest.raises(ValueError, match=rf"storage {tmp_path}/file/runs cannot be used: "), opened(made, SPACE, print):
        pass
    made = SweepFolder(tmp_path / "new" / "runs", "s")
    with pytest.raises(ValueError, match="no such suite"), opened(made, SPACE, print):
        raise ValueError("no such suite")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_storage_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omsweep.engine.opened.ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("omsweep.engine.opened.try_out", lambda _: threading.Event().wait())
    with (
        pytest.raises(ValueError, match=rf"storage {tmp_path} cannot be used: no answer within"),
        opened(SweepFolder(tmp_path, "s"), SPACE, print),
    ):
        pass


def test_it_is_created_once(folder: SweepFolder) -> None:
    first = folder.state().created
    with opened(folder, SPACE, print) as log:
        create(log, "s", SPACE)
        assert log.state.created == first
        assert log.epoch == 2
    assert first["sweep_id"]
    assert set(first) >= {"name", "resolved", "versions", "git_revision", "git_modified"}


def test_a_second_driver_is_refused_and_named(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omsweep.store.lease.BEAT_SECONDS", 0.2)
    with (
        opened(folder, SPACE, print),
        pytest.raises(ValueError, match=r"sweep s in .*: another driver runs this sweep: process \d+ on "),
        opened(folder, SPACE, print),
    ):
        pass


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (with_("train.steps", 20), "has another search space: train.steps is 10 there and 20 here"),
        (with_("train.beta", 0.1), "train.beta is not set there and 0.1 here"),
        (with_("design.blocks", 3), "is smaller: design.blocks is 2 there and 3 here. `omsweep extend` adds"),
        (with_("design.blocks", 1), "has another search space: design.blocks is 2 there and 1 here"),
    ],
)
def test_another_space_is_refused_by_its_keys(folder: SweepFolder, space: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text), opened(folder, space, print):
        pass


def test_a_search_is_extended_by_trials_and_by_repeats(folder: SweepFolder) -> None:
    old, new = ({"search": {"trials": trials, "replicates": repeats}} for trials, repeats in ((4, 1), (6, 2)))
    refuse_another(folder, old, new, extend=True)
    with pytest.raises(ValueError, match="search.replicates is 1 there and 2 here.*`omsweep extend`"):
        refuse_another(folder, old, new)
    with pytest.raises(ValueError, match="another search space: search.replicates is 2 there and 1 here"):
        refuse_another(folder, new, old | {"search": {"trials": 6, "replicates": 1}}, extend=True)


@pytest.mark.parametrize(("path", "value"), [("train.concurrent_trials", 1), ("keep.policies", "front")])
def test_how_a_sweep_is_run_may_change(folder: SweepFolder, path: str, value: Any) -> None:
    space = with_(path, value)
    with opened(folder, space, print) as log:
        assert log.state.resolved == space
    assert folder.state().resolved == space


def test_a_path_that_was_noted_relative_to_the_working_directory_is_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, former = SweepFolder(tmp_path / "runs", "s"), SPACE | {"preferences": {"path": "pairs.jsonl"}}
    with opened(made, former, print) as log:
        create(log, "s", former)
    now = SPACE | {"preferences": {"path": str(tmp_path / "pairs.jsonl")}}
    monkeypatch.chdir(tmp_path)
    with opened(made, now, print) as log:
        assert log.state.created
    monkeypatch.chdir("/")
    with pytest.raises(ValueError, match="another search space: preferences.path is"), opened(made, former, print):
        pass


def test_only_counts_may_grow(folder: SweepFolder) -> None:
    with opened(folder, with_("design.blocks", 3), print, extend=True) as log:
        assert log.state.resolved["design"]["blocks"] == 3
    both = with_("design.blocks", 4) | {"train": {**SPACE["train"], "steps": 20}}
    with (
        pytest.raises(ValueError, match="train.steps is 10 there and 20 here"),
        opened(folder, both, print, extend=True),
    ):
        pass


def test_sft_seeds_grow_from_two_on(tmp_path: Path) -> None:
    """With one the trials are not named by it: under several all of them would be others."""
    one = SPACE | {"design": {"blocks": 2, "sft_seeds": 1}}
    for sft_seeds in (1, 2):
        made = SweepFolder(tmp_path, f"s{sft_seeds}")
        with opened(made, one | {"design": {"blocks": 2, "sft_seeds": sft_seeds}}, print) as log:
            create(log, made.name, log.state.resolved or one | {"design": {"blocks": 2, "sft_seeds": sft_seeds}})
    three = one | {"design": {"blocks": 2, "sft_seeds": 3}}
    with (
        pytest.raises(ValueError, match="sft_seeds is 1 there and 3"),
        opened(SweepFolder(tmp_path, "s1"), three, print, extend=True),
    ):
        pass
    with opened(SweepFolder(tmp_path, "s2"), three, print, extend=True) as log:
        assert log.state.resolved == three


def test_differences_are_by_key_path() -> None:
    assert differences({"a": {"b": 1, "c": [1]}}, {"a": {"b": 2, "c": [1]}, "d": None}) == [("a.b", 1, 2)]


def test_a_log_that_is_open_says_which_driver_it_is(folder: SweepFolder) -> None:
    log = SweepLog.open(folder.files)
    assert log.epoch == 2
    log.close()
