"""Real Ray jobs against a head node of this test's own: token authentication, exit codes, a sweep from end to end."""

import json
import re
import secrets
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from omsweep.store.folder import SweepFolder
from tests.broken.suites import WORDS, write_suite
from tests.planted_secret import PLANTED, places_of
from tests.ray_head import BIN, Head, ray_head

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]


RAYS_OWN = ("_AutoscalingCoordinatorActor", "TrainStateActor")
"""Actors that Ray starts once for a cluster and keeps for later jobs; they hold no CPU."""

SPACE = """
name: on-cluster
mode: compare
families: [tiny-llama]
preferences: tiny
space:
  algorithm: dpo
  learning_rate: 5.0e-4
  beta: 0.1
  method:
    adamw: {}
    ondare: {semantics: equations, tau_travel: 0.1, density: 0.5}
design: {blocks: 1, seeds: 1, match: none}
train: {steps: 4, batch_size: 8, backend: inprocess}
evaluate: {tax: tiny, reward: tiny, samples: 2, limit: 16}
"""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with ray_head({name: f"planted-{secrets.token_hex(12)}" for name in PLANTED}) as started:
        yield started


def test_the_dashboard_answers_only_to_the_token(head: Head) -> None:
    assert head.get("/api/jobs/", None)[0] == 401
    assert head.get("/api/jobs/", "0" * 64)[0] == 403
    assert head.get("/api/jobs/", head.token)[0] == 200


def test_submitting_without_the_token_is_one_line_and_exit_code_1(head: Head, tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    words = ["omsweep", "submit", str(space), "--address", head.url, "--storage", str(tmp_path)]
    result = head.run(*words, RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN_PATH="")
    assert result.returncode == 1
    assert result.stderr.startswith("omsweep: not submitted: Authentication required")
    assert "RAY_AUTH_MODE" in result.stderr
    assert "Traceback" not in result.stderr
    assert json.loads(head.get("/api/jobs/", head.token)[1]) == []


def test_plain_ray_job_submit_without_absolute_storage_says_so_and_fails(head: Head) -> None:
    words = ["ray", "job", "submit", "--address", head.url, "--working-dir", "."]
    job = ["python", "jobs/sweep.py", "search_spaces/demo.yaml", "--storage", "runs"]
    result = head.run(*words, "--", *job)
    assert result.returncode == 1
    assert "--storage must be an absolute path or a URI in a Ray job" in result.stdout
    assert "got 'runs'" in result.stdout
    assert "failed with exit code 2" in result.stdout


def test_a_sweep_runs_as_a_job_from_end_to_end(head: Head, tmp_path: Path) -> None:
    space, storage = tmp_path / "tiny space.yaml", tmp_path / "shared storage"
    space.write_text(SPACE)
    words = ["omsweep", "submit", str(space), "--address", head.url, "--storage", str(storage)]
    result = head.run(*words, "--name", "by-job", "--set", "train.steps=5")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "succeeded" in result.stdout.splitlines()[-1]

    folder = storage / "by-job"
    trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    assert {trial["method"] for trial in trials} == {"adamw", "ondare"}
    assert {trial["state"] for trial in trials} == {"completed"}
    assert {trial["steps"] for trial in trials} == {5}  # --set reached the job
    assert "members" in json.loads((folder / "front.json").read_text())  # none need beat the SFT model after 5 steps
    assert "<html" in (folder / "report.html").read_text()[:1000].lower()
    assert (storage / "mlflow.db").is_file()

    (job,) = [j for j in json.loads(head.get("/api/jobs/", head.token)[1]) if "by-job" in j["entrypoint"]]
    assert job["status"] == "SUCCEEDED"
    assert job["metadata"]["omsweep_sweep"] == "by-job"
    assert head.token not in json.dumps(job) + result.stdout + result.stderr

    again = head.run(*words, "--name", "by-job", "--set", "train.steps=5")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "sweep by-job is finished" in again.stdout
    other = head.run(*words, "--name", "by-job")
    assert other.returncode == 1
    assert "train.steps is 5 there and 4 here" in other.stdout
    assert other.stdout.splitlines()[-1].endswith("failed with exit code 2")


def test_ctrl_c_detaches_and_ray_job_stop_ends_the_sweep_in_order(head: Head, tmp_path: Path) -> None:
    space, storage, log = tmp_path / "long.yaml", tmp_path / "shared", tmp_path / "log"
    space.write_text(SPACE.replace("steps: 4", "steps: 1000000"))
    words = ["submit", str(space), "--address", head.url, "--storage", str(storage), "--name", "long"]
    with log.open("w") as output:
        following = subprocess.Popen(
            [str(BIN / "omsweep"), *words],
            env=head.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background shells ignore it
        )
        wait_for_text(log, "running trials, 2 at a time", following)
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=60) == 130
    said = log.read_text()
    (job_id,) = set(re.findall(r"^job (omsweep-long-[0-9a-f]{6}) on ", said, flags=re.MULTILINE))
    assert "nodes that hold a worker: 1 of 1" in said
    assert "warning" not in said, "it asks for a token and listens on loopback"
    assert f"detached; job {job_id} goes on" in said
    assert "Traceback" not in said
    assert json.loads(head.get(f"/api/jobs/{job_id}", head.token)[1])["status"] == "RUNNING"

    again = head.run("omsweep", *words)
    assert again.returncode == 2, again.stdout + again.stderr
    assert f"sweep long is run by job {job_id}" in again.stderr
    listed = head.run("omsweep", "list", "--address", head.url)
    assert re.search(rf"^long +running .* {job_id} *$", listed.stdout, flags=re.MULTILINE), listed.stdout
    status = head.run("omsweep", "status", "long", "--address", head.url)
    assert status.stdout.startswith(f"long: job {job_id} on {head.url}, running"), status.stdout + status.stderr

    stopped = head.run("ray", "job", "stop", "--address", head.url, job_id)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert json.loads(head.get(f"/api/jobs/{job_id}", head.token)[1])["status"] == "STOPPED"
    assert (storage / "long" / "front.json").is_file()
    assert run_statuses(storage / "mlflow.db") == {"KILLED"}


JUDGE = """
import logging, os, sys
import ray

def asked(doc):
    if not ray.is_initialized():
        return doc["prompt"]
    said = f"401 {os.environ['HF_TOKEN']} {os.environ['JUDGE_KEY']} {os.environ['MLFLOW_TRACKING_PASSWORD']}"
    print(said, flush=True)
    logging.getLogger("judge").warning(said)
    raise RuntimeError(f"{said} https://me:{os.environ['JUDGE_KEY']}@judge")
"""


def test_a_planted_secret_is_nowhere_in_what_a_job_leaves(head: Head, tmp_path: Path) -> None:
    """A task of the job says it aloud and raises it; only in the driver, where Ray is not up yet, it does not."""
    key, home = f"planted-{secrets.token_hex(12)}", Path(head.environment["HOME"])
    values = [key, *(head.environment[name] for name in PLANTED)]
    (home / "judge").write_text(key)
    suite = write_suite(tmp_path / "suite", words={**WORDS, "doc_to_text": "!function own.asked"})
    words = (suite / "words.yaml").read_text()
    (suite / "words.yaml").write_text(words.replace("'!function own.asked'", "!function own.asked"))
    (suite / "own.py").write_text(JUDGE)
    (tmp_path / "space.yaml").write_text(
        SPACE.replace("tax: tiny", f"tax: {suite}, allow_suite_code: true")
        + f"secrets: {{HF_TOKEN: env, JUDGE_KEY: 'file:{home}/judge'}}\n"
    )
    command = ["omsweep", "submit", str(tmp_path / "space.yaml"), "--address", head.url]
    command += ["--storage", str(tmp_path / "shared")]
    result = head.run(*command, "--name", "planted", HF_TOKEN="", MLFLOW_TRACKING_PASSWORD="")
    output = result.stdout + result.stderr
    assert result.returncode == 1, output
    assert "RuntimeError: 401 *** *** *** https://judge" in output, "it was said, and cut"
    assert not [value for value in values if value in output]

    refused = head.run(*command, "--name", "other", "--set", "secrets.JUDGE_KEY=file:/nowhere")
    assert "secret JUDGE_KEY is missing for the driver on" in refused.stdout
    assert refused.stdout.splitlines()[-1].endswith("failed with exit code 2")

    time.sleep(5)  # what Ray gathers of tasks is sent every few seconds
    (job_id,) = set(re.findall(r"^job (omsweep-planted-[0-9a-f]{6}) on ", result.stdout, flags=re.MULTILINE))
    asked = ["/api/jobs/", f"/api/jobs/{job_id}", f"/api/jobs/{job_id}/logs", "/logical/actors", "/events"]
    asked += [f"/api/v0/{kind}?detail=1&limit=1000" for kind in ("tasks", "actors", "workers", "runtime_envs", "jobs")]
    answers = {path: head.get(path, head.token) for path in asked}
    assert all(status == 200 for status, _ in answers.values()), {path: one[0] for path, one in answers.items()}
    assert "401 *** ***" in answers["/api/v0/tasks?detail=1&limit=1000"][1], "Ray has kept the task's error"
    assert not [path for path, (_, text) in answers.items() if any(value in text for value in values)]
    assert places_of([home, tmp_path / "shared"], values) == [str(home / "judge")]


def test_a_space_that_no_node_can_run_is_not_submitted(head: Head, tmp_path: Path) -> None:
    words = ["submit", "search_spaces/demo.yaml", "--address", head.url, "--storage", str(tmp_path)]
    deadline = time.monotonic() + 60  # until the head has written down that nothing adds nodes
    while True:
        result = head.run(
            "omsweep", *words, "--set", "train.resources_per_worker={gpus: 1}", "--name", "none", "--no-wait"
        )
        if result.returncode == 2 or time.monotonic() > deadline:
            break
        head.run("omsweep", "stop", "none", "--address", head.url)
    assert "no node of this cluster holds a worker of tiny-llama, which needs 0.1 CPU, 1 GPU" in result.stderr


def test_a_job_that_was_stopped_in_the_middle_is_submitted_again_and_done(head: Head, tmp_path: Path) -> None:
    """The mission, as users of Ray's own command submit it, in fewer steps; nothing of the job is left either time."""
    folder = SweepFolder(tmp_path / "shared", "mission")
    smaller = ["train.steps=20", "scheduler.first_rung=10", "evaluate.samples=2", "evaluate.limit=16"]
    job = [
        "python",
        "jobs/sweep.py",
        "search_spaces/mission.yaml",
        "--storage",
        str(folder.storage),
        "--name",
        folder.name,
    ]
    job += [word for setting in smaller for word in ("--set", setting)]

    def submit(job_id: str, *options: str) -> subprocess.CompletedProcess[str]:
        tags = json.dumps({"omsweep_sweep": folder.name})
        words = ["--submission-id", job_id, "--metadata-json", tags, "--working-dir", ".", *options]
        return head.run("ray", "job", "submit", "--address", head.url, *words, "--", *job)

    begun = submit("omsweep-mission-1", "--no-wait")
    assert begun.returncode == 0, begun.stdout + begun.stderr
    deadline = time.monotonic() + 400
    while not (folder.exists() and folder.state().ended()):
        assert time.monotonic() < deadline, head.get("/api/jobs/omsweep-mission-1/logs", head.token)[1]
        time.sleep(0.2)
    stopped = head.run("omsweep", "stop", folder.name, "--address", head.url)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "job omsweep-mission-1 stopped; the same command goes on" in stopped.stdout
    before = {one.trial_id: one.outcome for one in folder.state().ended()}
    assert folder.state().closed == "interrupted"
    assert 1 <= len(before) < 18
    wait_until_nothing_is_left(head)

    again = submit("omsweep-mission-2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"going on: {len(before)} trials have ended" in again.stdout
    state = folder.state()
    assert state.closed == "completed"
    assert set(state.counts) <= {"completed", "stopped"}
    assert sum(state.counts.values()) == 18
    assert {name: state.trials[name].outcome for name in before} == before
    wait_until_nothing_is_left(head)


def wait_until_nothing_is_left(head: Head) -> None:
    """No actor and no placement group of a job is alive, Ray says; ending them takes it a moment."""
    deadline = time.monotonic() + 30
    while left := [*rows(head, "actors", "DEAD"), *rows(head, "placement_groups", "REMOVED")]:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


def rows(head: Head, kind: str, gone: str) -> list[dict[str, object]]:
    """What the state API lists of a kind, without what is gone."""
    found = json.loads(head.get(f"/api/v0/{kind}?limit=1000", head.token)[1])["data"]["result"]["result"]
    return [row for row in found if row["state"] != gone and row.get("class_name") not in RAYS_OWN]


def wait_for_text(log: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)


def run_statuses(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {status for (status,) in connection.execute("select status from runs")}
