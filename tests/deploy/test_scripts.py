"""The scripts of nodes: what they would start, where `sudo` and the programs only take notes."""

import json
import os
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow.cli
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments:DeprecationWarning:ray")

DEPLOY = Path(__file__).parents[2] / "deploy"
HEAD, SPOT = DEPLOY / "head_services.sh", DEPLOY / "spot_notice.sh"
TAKES_NOTES = (
    '#!/usr/bin/env bash\nprintf "%q " "$(basename "$0")" "$@" >> "$NOTES"; echo >> "$NOTES"; cat > /dev/null\n'
)


@pytest.fixture
def node(tmp_path: Path) -> dict[str, str]:
    """Environment of a node: a home as `ray up` leaves it, Ray's configuration, and programs that take notes."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sudo", "curl", "prometheus", "mlflow", "ray"):
        (programs / name).write_text(TAKES_NOTES)
        (programs / name).chmod(0o755)
    written = tmp_path / "ray/session_latest/metrics/grafana/provisioning/datasources"
    written.mkdir(parents=True)
    (written / "default.yml").touch()
    (tmp_path / "omsweep").mkdir()
    (tmp_path / "omsweep/deploy").symlink_to(DEPLOY)
    return {
        "HOME": str(tmp_path),
        "RAY_TMPDIR": str(tmp_path),
        "NOTES": str(tmp_path / "notes"),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }


def run(script: Path, action: str, environment: dict[str, str]) -> list[list[str]]:
    """The commands that a script ran, each as its words."""
    command = ["bash", str(script), action]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in Path(environment["NOTES"]).read_text().splitlines()]


def started(environment: dict[str, str]) -> dict[str, list[str]]:
    """The services that `head_services.sh start` leaves running, by name: their command after `systemd-run ... --`."""
    found = {}
    for words in run(HEAD, "start", environment):
        if words[:2] == ["sudo", "systemd-run"]:
            (unit,) = [word.removeprefix("--unit=omsweep-") for word in words if word.startswith("--unit=")]
            found[unit] = words[words.index("--") + 1 :]
    return found


@pytest.mark.parametrize("script", [HEAD, SPOT], ids=lambda script: script.stem)
def test_a_script_is_valid_shell_and_says_how_it_is_used(script: Path) -> None:
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    asked = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    assert asked.returncode == 2
    assert asked.stderr.startswith("usage: ")


def test_the_packages_cannot_start_services_of_their_own(node: dict[str, str]) -> None:
    words = [words[1:] for words in run(HEAD, "install", node) if words[0] == "sudo"]
    mask = words.index(["systemctl", "mask", "--quiet", "prometheus", "grafana-server"])
    install = next(i for i, command in enumerate(words) if command[:2] == ["apt-get", "install"])
    assert mask < install
    assert {"prometheus", "grafana"} <= set(words[install])


def test_prometheus_reads_what_ray_writes_and_listens_on_loopback(node: dict[str, str]) -> None:
    program, *options = started(node)["prometheus"]
    assert program == f"{node['HOME']}/bin/prometheus"
    assert "--web.listen-address=127.0.0.1:9090" in options
    assert f"--config.file={node['RAY_TMPDIR']}/ray/session_latest/metrics/prometheus/prometheus.yml" in options


def test_grafana_shows_rays_dashboards_and_ours_on_loopback_and_nobody_can_log_in(node: dict[str, str]) -> None:
    env, *words = started(node)["grafana"]
    assert env == "/usr/bin/env"
    settings = dict(word.split("=", 1) for word in words if word.startswith("GF_"))
    assert settings["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert settings["GF_SERVER_HTTP_PORT"] == "3000"
    assert settings["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert settings["GF_AUTH_BASIC_ENABLED"] == "false"
    assert words[-1] == f"{node['RAY_TMPDIR']}/ray/session_latest/metrics/grafana/grafana.ini"
    shown = Path(node["HOME"]) / "omsweep/dashboards/omsweep.json"
    assert json.loads(shown.read_text())["title"] == "omsweep"


def test_mlflow_keeps_its_database_on_the_head_and_artifacts_on_the_shared_folder(node: dict[str, str]) -> None:
    words = started(node)["mlflow"]
    arguments = words[words.index("server") + 1 :]
    options = mlflow.cli.server.make_context("mlflow server", arguments).params
    assert (options["host"], options["port"]) == ("127.0.0.1", 5000)
    assert options["backend_store_uri"] == f"sqlite:///{node['HOME']}/omsweep/mlflow.db"
    assert options["artifacts_destination"].startswith("/shared/")


def test_the_three_are_started_again_when_they_end(node: dict[str, str]) -> None:
    starts = [words for words in run(HEAD, "start", node) if words[:2] == ["sudo", "systemd-run"]]
    assert len(starts) == 3
    assert all("--property=Restart=always" in words for words in starts)


@contextmanager
def metadata_service(answers: list[int]) -> Iterator[str]:
    """A stand-in for the address where AWS tells a machine about itself; the notice has these answers in turn."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, text: str = "") -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def do_PUT(self) -> None:
            self.answer(200, "session")

        def do_GET(self) -> None:
            if self.headers["X-aws-ec2-metadata-token"] != "session":
                return self.answer(401)
            status = answers.pop(0)
            return self.answer(
                status, '{"action": "terminate", "time": "2030-01-01T00:02:00Z"}' if status == 200 else ""
            )

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/latest"
    finally:
        server.shutdown()
        server.server_close()


def test_a_spot_notice_drains_the_node_in_rays_words(node: dict[str, str]) -> None:
    from ray.scripts.scripts import cli as ray_cli

    (Path(node["HOME"]) / "bin/curl").unlink()
    answers = [404, 404, 200]
    with metadata_service(answers) as address:
        (words,) = run(SPOT, "watch", node | {"SPOT_METADATA": address, "SPOT_PAUSE_S": "0.05"})
    assert not answers  # it waited for the notice
    assert words[:2] == ["ray", "drain-node"]
    options = ray_cli.commands["drain-node"].make_context("ray drain-node", words[2:]).params
    assert options["reason"] == "DRAIN_NODE_REASON_PREEMPTION"
    assert "terminate" in options["reason_message"]
    assert 0 < options["deadline_remaining_seconds"] < 120  # AWS gives two minutes
