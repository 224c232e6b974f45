"""The sweep folder: what is written is read back, torn lines, refusals that name the folder."""

import json
import math
import multiprocessing
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from omsweep import provenance
from omsweep.store.folder import SweepFolder, reference_of
from omsweep.store.records import STATES, TRIAL_FIELDS, TrialRecord

CONTRACT = re.findall(
    r"\w+",
    """trial_id, kind, parent, state, block, dose, baseline, family, algorithm, method, label, params,
    learning_rate_applied, seed, sft_seed, task_vector, attempts, reward, reward_se_items, rewards,
    reward_absolute, tax, tax_se_items, tax_regressed, tax_regressed_se_items, tax_worst, tax_worst_se_items,
    flip_rate, benchmark_average, scores, kl, kl_sampled, decoding, length_ratio, reward_report,
    reward_report_se_items, tax_report, tax_report_se_items, tax_regressed_report, tax_regressed_report_se_items,
    tax_worst_report, tax_worst_report_se_items, flip_rate_report, kl_report, diagnostics, merge_active, steps,
    tokens, seconds, accelerator, policy_path, weights_hash, mlflow_run_id, error""",
)


def record(trial_id="t1", **changes):
    known = {
        "state": "completed",
        "family": "tiny-llama",
        "method": "ondare",
        "params": {"learning_rate": 4e-4, "method": {"ondare": {"density": 0.5}}},
        "reward": 0.8,
        "tax": -0.25,
        "scores": {"math": 0.9},
    }
    return TrialRecord(trial_id=trial_id, **(known | changes))


@pytest.fixture
def folder(tmp_path):
    sweep = SweepFolder(tmp_path / "runs", "demo")
    sweep.create({"name": "demo", "mode": "compare"})
    return sweep


def test_the_trial_object_has_the_contracts_fields():
    assert sorted(TRIAL_FIELDS) == sorted(CONTRACT)
    assert list(record().to_json()) == list(TRIAL_FIELDS)


def test_a_record_survives_the_file(folder):
    full = record(
        block=2,
        baseline=True,
        seed=3,
        rewards={"greedy": 0.7, "sampled": 0.8},
        seconds={"train": 7.25},
        merge_active=False,
        error="é\n<line>",
    )
    folder.append(full)
    folder.append(record("t2", state="failed", error="out of memory"))
    assert folder.trials() == [full, record("t2", state="failed", error="out of memory")]


def test_missing_numbers_are_null_at_any_depth(folder):
    folder.append(
        record(
            tax=float("nan"),
            kl=np.float32("inf"),
            reward=np.float64(0.5),
            steps=np.int64(100),
            scores={"math": math.nan, "code": np.float32(0.5)},
            params={"betas": (0.9, float("-inf")), "flags": np.array([1.0, math.nan])},
        )
    )
    text = folder.trials_jsonl.read_text()
    assert not re.search("nan|infinity", text, flags=re.IGNORECASE)
    written = json.loads(text)
    assert (written["tax"], written["kl"], written["reward"], written["steps"]) == (None, None, 0.5, 100)
    assert written["scores"] == {"math": None, "code": 0.5}
    assert written["params"] == {"betas": [0.9, None], "flags": [1.0, None]}


@pytest.mark.parametrize(
    ("field", "value"), [("state", "done"), ("kind", "merged"), ("task_vector", "fake"), ("trial_id", "../x")]
)
def test_a_wrong_value_is_named(field, value):
    with pytest.raises(ValueError, match=rf"{field}.*{re.escape(value)}"):
        TrialRecord.from_json(record().to_json() | {field: value})


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_stored(folder, state):
    folder.append(record(state=state))
    assert [trial.state for trial in folder.trials()] == [state]


@pytest.mark.parametrize("cut", ["ï", "error", "t2"])
def test_a_torn_last_line_is_skipped_with_a_warning_and_does_not_spoil_the_next(folder, cut):
    folder.append(record("t1"))
    folder.append(record("t2", error="naïve"))
    content = folder.trials_jsonl.read_bytes()
    folder.trials_jsonl.write_bytes(content[: content.rindex(cut.encode()) + 1])
    with pytest.warns(UserWarning, match=r"trials.jsonl:2: torn line"):
        assert [trial.trial_id for trial in folder.trials()] == ["t1"]
    folder.append(record("t3"))
    with pytest.warns(UserWarning, match=r"trials.jsonl:2: torn line"):
        assert [trial.trial_id for trial in folder.trials()] == ["t1", "t3"]


def test_a_line_that_only_lacks_its_end_is_kept(folder):
    folder.append(record("t1"))
    folder.trials_jsonl.write_bytes(folder.trials_jsonl.read_bytes()[:-1])
    folder.append(record("t2"))
    assert [trial.trial_id for trial in folder.trials()] == ["t1", "t2"]


def test_the_last_record_of_a_repeated_trial_counts(folder):
    folder.append(record("t1", state="failed", reward=None))
    folder.append(record("t2"))
    folder.append(record("t1", attempts=2))
    assert [(trial.trial_id, trial.state) for trial in folder.trials()] == [
        ("t2", "completed"),
        ("t1", "completed"),
    ]


def test_fields_of_a_newer_version_are_named_in_a_warning():
    with pytest.warns(UserWarning, match="unknown fields ignored: colour"):
        assert TrialRecord.from_json({**record().to_json(), "colour": "blue"}) == record()


def _append_many(storage, start):
    sweep = SweepFolder(storage, "demo")
    for number in range(start, start + 25):
        sweep.append(record(f"t{number}", error="x" * 20_000))


def test_lines_of_writers_at_once_stay_whole(folder):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(folder.storage, 25 * k)) for k in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {trial.trial_id for trial in folder.trials()} == {f"t{number}" for number in range(75)}


def test_sweep_json_says_what_ran_and_with_what(folder):
    sweep = folder.sweep()
    assert sweep["name"] == "demo"
    assert sweep["resolved"] == {"name": "demo", "mode": "compare"}
    assert sweep["versions"]["numpy"] == np.__version__
    assert sweep["versions"]["python"] == sys.version.split()[0]
    assert sweep["created"].endswith("+00:00")
    assert sweep["git_revision"] is None or re.fullmatch("[0-9a-f]{40}", sweep["git_revision"])


@pytest.mark.parametrize("name", ["sweep", "references", "front"])
def test_a_broken_file_is_named(folder, name):
    file = folder.path / f"{name}.json"
    file.write_text('{"name": ')
    with pytest.raises(ValueError, match=rf"^{re.escape(str(file))} is broken: Expecting value"):
        getattr(folder, name)()


def test_the_git_revision_is_that_of_a_checkout_and_none_elsewhere(tmp_path):
    package = tmp_path / "inner" / "provenance.py"
    package.parent.mkdir()
    package.write_bytes(Path(provenance.__file__).read_bytes())
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.com"]

    def revision():
        code = "import provenance, json; print(json.dumps(provenance.revision()))"
        done = subprocess.run([sys.executable, "-c", code], cwd=package.parent, capture_output=True, check=True)
        return json.loads(done.stdout)

    nothing = {"git_revision": None, "git_modified": None}
    assert revision() == nothing
    subprocess.run([*git, "init", "-q"], check=True)
    assert revision() == nothing, "a file that the repository around it does not track"
    subprocess.run([*git, "add", "inner/provenance.py"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert revision() == {"git_revision": head, "git_modified": False}
    package.write_text(package.read_text() + "\n# changed\n")
    assert revision() == {"git_revision": head, "git_modified": True}


def test_an_existing_sweep_is_named(folder):
    with pytest.raises(FileExistsError, match=re.escape(str(folder.path))):
        SweepFolder(folder.storage, "demo").create({})


@pytest.mark.parametrize("below", ["", "below"])
def test_storage_that_cannot_be_written_is_named_with_the_reason(tmp_path, below):
    (tmp_path / "file").write_text("in the way")
    storage = tmp_path / "file" / below
    with pytest.raises(ValueError, match=rf"storage {re.escape(str(storage / 'demo'))} cannot be written: "):
        SweepFolder(storage, "demo").create({})


def test_appending_to_a_folder_that_is_gone_is_named(tmp_path):
    with pytest.raises(ValueError, match=rf"storage {re.escape(str(tmp_path / 'demo'))} cannot be written"):
        SweepFolder(tmp_path, "demo").append(record())


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "-rf"])
def test_a_name_that_cannot_be_a_folders_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="name must be letters"):
        SweepFolder(tmp_path, name)


def test_storage_as_a_uri_is_refused():
    with pytest.raises(ValueError, match=re.escape("s3://bucket/runs")):
        SweepFolder("s3://bucket/runs", "demo")


def test_reading_makes_nothing(tmp_path):
    sweep = SweepFolder(tmp_path, "demo")
    assert not sweep.exists()
    assert (sweep.trials(), sweep.references(), sweep.front()) == ([], {}, None)
    with pytest.raises(FileNotFoundError, match=re.escape(str(sweep.path))):
        sweep.sweep()
    assert list(tmp_path.iterdir()) == []


def test_scores_come_back_as_written(folder):
    frame = pd.DataFrame(
        {"kind": ["tax", "reward"], "item_id": ["a", "b"], "score": [1.0, float("nan")], "sample": [0, 3]}
    )
    path = folder.write_scores("t1", frame)
    assert path == folder.path / "scores" / "t1.parquet"
    pd.testing.assert_frame_equal(folder.scores("t1"), frame)
    assert [entry.name for entry in folder.scores_folder.iterdir()] == ["t1.parquet"]
    with pytest.raises(FileNotFoundError):
        folder.scores("t2")


def test_references_are_kept_per_family(folder):
    folder.write_reference("tiny-llama", {"scores": {"math": 0.9}, "benchmark_average": np.float64(90)})
    folder.write_reference("tiny-qwen2", {"scores": {"math": float("nan")}})
    assert folder.references() == {
        "tiny-llama": {"scores": {"math": 0.9}, "benchmark_average": 90.0},
        "tiny-qwen2": {"scores": {"math": None}},
    }


def test_the_front_is_replaced_whole(folder):
    folder.write_front({"hypervolume": 1.0, "members": [1, 2]})
    folder.write_front({"hypervolume": 2.0})
    assert folder.front() == {"hypervolume": 2.0}
    assert not [entry.name for entry in folder.path.iterdir() if entry.name.startswith(".")]


def test_references_of_several_sft_models_are_kept_by_seed(folder):
    folder.write_reference("one", {"benchmark_average": 1.0})
    for seed in (0, 1):
        folder.write_reference("many", {"benchmark_average": 10.0 + seed}, sft_seed=seed)
    references = folder.references()
    assert list(references) == ["one", "many#0", "many#1"]
    found = [reference_of(references, *key) for key in (("one", 0), ("one", None), ("many", 1), ("many", 2), ("no", 0))]
    assert [reference and reference["benchmark_average"] for reference in found] == [1.0, 1.0, 11.0, None, None]


def test_the_sft_models_table_is_found_under_either_key(folder):
    alone, second = (pd.DataFrame({"item_id": ["a"], "score": [score]}) for score in (0.25, 0.75))
    folder.write_reference_scores("tiny-llama", alone)
    folder.write_reference_scores("tiny-qwen2", second, sft_seed=1)
    assert folder.reference_scores("tiny-llama", 0)["score"].tolist() == [0.25]
    assert folder.reference_scores("tiny-qwen2", 1)["score"].tolist() == [0.75]
    with pytest.raises(FileNotFoundError):
        folder.reference_scores("tiny-qwen2", 0)


def test_a_merged_trials_id_names_a_file(folder):
    merged = record("t1+line-0", kind="posthoc", parent="t1")
    folder.append(merged)
    folder.write_scores(merged.trial_id, pd.DataFrame({"score": [1.0]}))
    assert folder.trials() == [merged]
    assert folder.scores("t1+line-0")["score"].tolist() == [1.0]
