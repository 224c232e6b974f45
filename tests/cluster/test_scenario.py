"""What a user does with a sweep on a cluster, from submitting it to asking the exported policy, in one go.

The cluster asks for a token, MLflow keeps its runs in PostgreSQL, and the driver is killed in the middle.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from omsweep.store.folder import SweepFolder
from omsweep.store.lease import holder
from tests.mlflow_server import free_port, server
from tests.postgres import postgres
from tests.ray_head import BIN, Head, ray_head

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]

TRIALS = 10
SETTINGS = ("families=[tiny-llama]", f"search.trials={TRIALS}")


def test_submit_watch_kill_submit_again_report_export_serve(tmp_path: Path) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    pytest.importorskip("openai", reason="needs what `transformers serve` asks for: pip install transformers[serving]")
    folder = SweepFolder(tmp_path / "shared", "mission")
    port = free_port()
    with (
        postgres() as database,
        server(database.replace("://", "+psycopg2://"), port, tmp_path) as mlflow,
        ray_head({}) as head,
    ):
        submit = ["submit", "search_spaces/mission.yaml", "--address", head.url, "--storage", str(folder.storage)]
        submit += ["--tracking-uri", mlflow.uri, *(word for one in SETTINGS for word in ("--set", one))]
        ran(head, *submit, "--no-wait")
        wait_until(lambda: folder.exists() and folder.state().trials, 300)
        with watching(head, folder, tmp_path) as screen:
            wait_until(lambda: "training" in screen() and "completed" in screen(), 300)
            (tmp_path / "watch.txt").write_text(screen())
            owner = holder(folder.files)
            assert owner is not None
            os.kill(owner.pid, signal.SIGKILL)
            before = {one.trial_id: one.outcome for one in folder.state().ended()}
            assert 1 <= len(before) < TRIALS
            again = ran(head, *submit)
            assert f"going on: {len(before)} trials have ended" in again
            wait_until(lambda: "mission: completed" in screen(), 30)

        state = folder.state()
        assert {name: state.trials[name].outcome for name in before} == before
        assert sum(state.counts.values()) == TRIALS
        assert set(state.counts) <= {"completed", "stopped"}
        assert runs(database) == {"FINISHED": 1 + TRIALS}

        assert "tiny-llama" in ran(head, "report", "mission", "--storage", str(folder.storage))
        taken = tmp_path / "taken"
        words = ["--storage", str(folder.storage), "--output", str(taken)]
        ran(head, "export", "mission", "--knee", *words)
        assert "reward" in (taken / "README.md").read_text()
        words = ["evaluate", str(taken), "--sweep", "mission", "--storage", str(folder.storage)]
        assert "reward and tax are the same to the last digit" in ran(head, *words, stderr=True)
    with serving(taken, tmp_path) as url:
        answer = asked(url, taken, "what is 2 + 3 ?")
    assert answer
    (tmp_path / "answer.txt").write_text(answer)


def ran(head: Head, *words: str, stderr: bool = False) -> str:
    """What a command of omsweep says that ends well."""
    result = head.run("omsweep", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stderr if stderr else result.stdout


def wait_until(is_true: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.5)


@contextmanager
def watching(head: Head, folder: SweepFolder, place: Path) -> Iterator[Callable[[], str]]:
    """`omsweep watch` in a terminal of 120 x 40; gives what stands on it."""
    tmux = ["tmux", "-S", str(place / "tmux")]
    command = [str(BIN / "omsweep"), "watch", folder.name, "--storage", str(folder.storage)]
    subprocess.run(
        [*tmux, "new-session", "-d", "-x", "120", "-y", "40", shlex.join(command) + "; sleep 3600"],
        env=head.environment,
        check=True,
    )
    try:
        yield lambda: subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True).stdout
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)


def runs(database: str) -> Counter[str]:
    """Runs of MLflow by their status."""
    import psycopg2

    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("select status from runs where lifecycle_stage = 'active'")
        return Counter(status for (status,) in cursor.fetchall())


@contextmanager
def serving(model: Path, place: Path) -> Iterator[str]:
    """`transformers serve` with the model; gives its address."""
    port = free_port()
    command = [str(BIN / "transformers"), "serve", str(model), "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with (place / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=place, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
    try:
        wait_until(lambda: process.poll() is not None or answers(f"{url}/health"), 180)
        assert process.poll() is None, (place / "serve.log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def asked(url: str, model: Path, question: str) -> str:
    """What the server's model answers."""
    chat = {"model": str(model), "messages": [{"role": "user", "content": question}], "max_tokens": 24}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(chat).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])
