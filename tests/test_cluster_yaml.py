"""`cluster.yaml` against Ray's own schema and options and the shell."""

import copy
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments:DeprecationWarning:ray")

ROOT = Path(__file__).parent.parent
COMMAND_LISTS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def ray_options(command: str) -> list[dict[str, Any]]:
    """Options of every `ray start` in a shell command, parsed by Ray's own command line without running it."""
    from ray.scripts.scripts import cli as ray_cli

    words = shlex.split(command, comments=True)
    starts = [i for i in range(len(words) - 1) if words[i : i + 2] == ["ray", "start"]]
    start = ray_cli.commands["start"]
    return [start.make_context("ray start", words[i + 2 :]).params for i in starts]


def all_options(cluster: dict[str, Any], key: str) -> dict[str, Any]:
    (options,) = [found for command in cluster[key] for found in ray_options(command)]
    return options


def test_it_passes_rays_own_validation(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(cluster)))


def test_that_validation_refuses_a_typing_mistake(cluster: dict[str, Any]) -> None:
    broken = copy.deepcopy(cluster)
    broken["available_node_types"]["gpu"]["min_worker"] = 1
    with pytest.raises(jsonschema.ValidationError, match="min_worker"):
        validate_config(prepare_config(broken))


def test_the_head_does_not_train(cluster: dict[str, Any]) -> None:
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    options = all_options(cluster, "head_start_ray_commands")
    assert options["head"]
    assert options["num_cpus"] == 0
    assert options["num_gpus"] == 0
    assert options["autoscaling_config"] == "~/ray_bootstrap_config.yaml"


def test_gpu_workers_are_autoscaled(cluster: dict[str, Any]) -> None:
    workers = {
        name: kind for name, kind in cluster["available_node_types"].items() if name != cluster["head_node_type"]
    }
    assert all(kind["resources"]["GPU"] > 0 for kind in workers.values())
    assert all(kind["min_workers"] < kind["max_workers"] for kind in workers.values())
    assert max(kind["max_workers"] for kind in workers.values()) <= cluster["max_workers"]
    assert not all_options(cluster, "worker_start_ray_commands")["head"]


def test_every_node_asks_for_the_token_and_gets_it_as_a_file(cluster: dict[str, Any]) -> None:
    (mounted,) = [path for path in cluster["file_mounts"] if path.endswith("/.ray/auth_token")]
    assert mounted == f"/home/{cluster['auth']['ssh_user']}/.ray/auth_token"  # where Ray looks by itself
    environment = environment_of(cluster)
    assert environment["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in environment
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        for command in cluster[key]:
            assert "ray " not in command or command.startswith(". ~/omsweep/environment.sh;")


def test_the_dashboard_is_not_open_to_the_network(cluster: dict[str, Any]) -> None:
    assert all_options(cluster, "head_start_ray_commands")["dashboard_host"] == "127.0.0.1"


def test_caches_and_models_are_on_the_shared_folder_and_no_node_starts_without_it(cluster: dict[str, Any]) -> None:
    environment = environment_of(cluster)
    assert environment["OMSWEEP_CACHE"].startswith("/shared/")
    assert environment["HF_HOME"].startswith("/shared/")
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert cluster[key][0] == "mountpoint -q /shared"


def environment_of(cluster: dict[str, Any]) -> dict[str, str]:
    """What the environment file written at set-up exports, as a shell that sources it sees it."""
    (write,) = [command for command in cluster["setup_commands"] if "> ~/omsweep/environment.sh" in command]
    exports = shlex.split(write)[1]
    listed = subprocess.run(["bash", "-c", f"{exports}\nenv -0"], capture_output=True, text=True, check=True, env={})
    return dict(entry.split("=", 1) for entry in listed.stdout.split("\0") if entry)


@pytest.mark.parametrize("key", COMMAND_LISTS)
def test_commands_are_valid_shell(cluster: dict[str, Any], key: str) -> None:
    for command in cluster[key]:
        parsed = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert parsed.returncode == 0, f"{command}\n{parsed.stderr}"


def test_mounted_files_of_the_repository_exist(cluster: dict[str, Any]) -> None:
    local = [path for path in cluster["file_mounts"].values() if not path.startswith(("~", "/"))]
    assert local == ["requirements.lock"]
    assert all((ROOT / path).is_file() for path in local)
