"""`cluster.yaml` and `deploy/on_premise.yaml` against Ray's own schema and options and the shell."""

import copy
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from omsweep.space.load import load_space
from omsweep.space.resources import worker_resources
from tests.space_files import stand_ins

pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments:DeprecationWarning:ray")

ROOT = Path(__file__).parent.parent
AWS, ON_PREMISE = "cluster.yaml", "deploy/on_premise.yaml"
COMMAND_LISTS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
MACHINES = {"p5.48xlarge": {"CPU": 192, "GPU": 8, "gpu_memory_gib": 79}}  # AWS; GPU memory as torch reports it


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.fixture(scope="module", params=[AWS, ON_PREMISE])
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture(scope="module")
def aws() -> dict[str, Any]:
    return read(AWS)


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


def workers_of(cluster: dict[str, Any]) -> dict[str, Any]:
    """Node types by name, without the head."""
    return {name: kind for name, kind in cluster["available_node_types"].items() if name != cluster["head_node_type"]}


def test_it_passes_rays_own_validation(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(cluster)))


def test_that_validation_refuses_a_typing_mistake(aws: dict[str, Any]) -> None:
    broken = copy.deepcopy(aws)
    broken["available_node_types"]["spot"]["min_worker"] = 1
    with pytest.raises(jsonschema.ValidationError, match="min_worker"):
        validate_config(prepare_config(broken))


def test_the_head_does_not_train(cluster: dict[str, Any]) -> None:
    options = all_options(cluster, "head_start_ray_commands")
    assert options["head"]
    assert options["num_cpus"] == 0
    assert options["num_gpus"] == 0
    assert options["autoscaling_config"] == "~/ray_bootstrap_config.yaml"
    assert not all_options(cluster, "worker_start_ray_commands")["head"]


def test_the_autoscaler_places_nothing_on_the_head(aws: dict[str, Any]) -> None:
    assert aws["available_node_types"][aws["head_node_type"]]["resources"] == {"CPU": 0, "GPU": 0}


def test_gpu_workers_are_autoscaled(aws: dict[str, Any]) -> None:
    workers = workers_of(aws)
    assert all(kind["resources"]["GPU"] > 0 for kind in workers.values())
    assert all(kind["min_workers"] < kind["max_workers"] for kind in workers.values())
    assert max(kind["max_workers"] for kind in workers.values()) <= aws["max_workers"]


def test_spot_nodes_come_first_and_on_demand_nodes_are_of_the_same_machine(aws: dict[str, Any]) -> None:
    """Ray's autoscaler takes the priority only where two types are equally good, so what they have must be the same."""
    workers = workers_of(aws)
    markets = {name: kind["node_config"].get("InstanceMarketOptions") for name, kind in workers.items()}
    assert markets == {"spot": {"MarketType": "spot"}, "on_demand": None}
    assert workers["spot"]["resources"] == workers["on_demand"]["resources"]
    assert workers["spot"]["priority"] > workers["on_demand"].get("priority", 0)
    assert len({kind["node_config"]["InstanceType"] for kind in workers.values()}) == 1


def test_what_a_node_is_said_to_have_the_machine_has(aws: dict[str, Any]) -> None:
    for kind in workers_of(aws).values():
        machine = MACHINES[kind["node_config"]["InstanceType"]]
        assert kind["resources"] == {name: machine[name] for name in ("CPU", "GPU")}


@pytest.mark.parametrize("path", sorted((ROOT / "search_spaces/paper").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_node_holds_a_worker_group_of_the_papers_spaces(aws: dict[str, Any], path: Path) -> None:
    space = load_space(path, stand_ins(path))
    for family in space.families:
        each, count = worker_resources(space.file.train, family), space.file.train.workers
        for kind in workers_of(aws).values():
            machine = MACHINES[kind["node_config"]["InstanceType"]]
            assert count * each.gpus <= kind["resources"]["GPU"]
            assert count * each.cpus < kind["resources"]["CPU"]
            assert each.gpu_memory_gib <= machine["gpu_memory_gib"]


def test_every_node_asks_for_the_token_and_gets_it_as_a_file(cluster: dict[str, Any]) -> None:
    (mounted,) = [path for path in cluster["file_mounts"] if path.endswith("/.ray/auth_token")]
    assert mounted == f"/home/{cluster['auth']['ssh_user']}/.ray/auth_token"  # where Ray looks by itself
    assert "chmod 600 ~/.ray/auth_token" in cluster["initialization_commands"]
    environment = environment_of(cluster)
    assert environment["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in environment
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        for command in cluster[key]:
            assert "ray " not in command or command.startswith(". ~/omsweep/environment.sh;")


def test_nothing_of_the_head_is_open_to_the_network(cluster: dict[str, Any]) -> None:
    assert all_options(cluster, "head_start_ray_commands")["dashboard_host"] == "127.0.0.1"
    environment = environment_of(cluster)
    assert environment["RAY_PROMETHEUS_HOST"] == "http://127.0.0.1:9090"
    assert environment["RAY_GRAFANA_HOST"] == "http://127.0.0.1:3000"


def test_a_security_group_is_named_because_rays_own_lets_ssh_in_from_everywhere(aws: dict[str, Any]) -> None:
    assert all(kind["node_config"]["SecurityGroupIds"] for kind in aws["available_node_types"].values())


def test_the_dashboards_pages_find_what_they_show(cluster: dict[str, Any]) -> None:
    environment = environment_of(cluster)
    assert environment["RAY_TRAIN_ENABLE_STATE_TRACKING"] == "1"
    assert environment["RAY_GRAFANA_IFRAME_HOST"] == "http://localhost:3000"  # as the browser sees it, through SSH
    assert environment["RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR"] == "/home/someone/omsweep/dashboards"
    words = [shlex.split(command, comments=True) for command in cluster["head_start_ray_commands"]]
    (start,) = [
        i for i, command in enumerate(words) if command[-3:] == ["bash", "~/omsweep/deploy/head_services.sh", "start"]
    ]
    (ray,) = [i for i, command in enumerate(words) if "--head" in command]
    assert ray < start  # Ray writes the configuration of both
    assert any("head_services.sh install" in command for command in cluster["head_setup_commands"])


def test_spot_nodes_pass_on_the_notice_that_they_go(aws: dict[str, Any]) -> None:
    assert aws["worker_start_ray_commands"][-1].endswith("bash ~/omsweep/deploy/spot_notice.sh start")


def test_caches_and_models_are_on_the_shared_folder_and_no_node_starts_without_it(cluster: dict[str, Any]) -> None:
    environment = environment_of(cluster)
    assert environment["OMSWEEP_CACHE"].startswith("/shared/")
    assert environment["HF_HOME"].startswith("/shared/")
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert cluster[key][0] == "mountpoint -q /shared"


def test_machines_of_ones_own_are_set_up_as_those_of_aws(aws: dict[str, Any]) -> None:
    own = read(ON_PREMISE)
    assert own["setup_commands"] == aws["setup_commands"]
    assert own["head_start_ray_commands"] == aws["head_start_ray_commands"]
    assert own["worker_start_ray_commands"] == aws["worker_start_ray_commands"][:-1]
    assert own["file_mounts"] == aws["file_mounts"]


def environment_of(cluster: dict[str, Any]) -> dict[str, str]:
    """What the environment file written at set-up exports, as a shell that sources it sees it."""
    (write,) = [command for command in cluster["setup_commands"] if "> ~/omsweep/environment.sh" in command]
    exports = shlex.split(write)[1]
    home = {"HOME": "/home/someone"}
    listed = subprocess.run(["bash", "-c", f"{exports}\nenv -0"], capture_output=True, text=True, check=True, env=home)
    return dict(entry.split("=", 1) for entry in listed.stdout.split("\0") if entry)


@pytest.mark.parametrize("key", COMMAND_LISTS)
def test_commands_are_valid_shell(cluster: dict[str, Any], key: str) -> None:
    for command in cluster.get(key, []):
        parsed = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert parsed.returncode == 0, f"{command}\n{parsed.stderr}"


def test_mounted_files_of_the_repository_exist(cluster: dict[str, Any]) -> None:
    local = [path for path in cluster["file_mounts"].values() if not path.startswith(("~", "/"))]
    assert local == ["requirements.lock", "deploy"]
    assert all((ROOT / path).exists() for path in local)
    commands = " ".join(command for key in COMMAND_LISTS for command in cluster.get(key, []))
    scripts = {word for word in commands.split() if word.startswith("~/omsweep/deploy/")}
    assert scripts
    assert all((ROOT / script.removeprefix("~/omsweep/")).is_file() for script in scripts)
