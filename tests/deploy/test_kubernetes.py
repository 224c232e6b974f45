"""The manifests: fields that KubeRay and Kueue know, names that refer to each other, what a sweep needs."""

import copy
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from omsweep import cli

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
SHARED = "/shared"
INSTALLED = "/opt/omsweep/"  # where the image has the clone


def structure(required: str, optional: str = "", **inner: Any) -> dict[str, Any]:
    """A JSON schema of a mapping: names that must and that may be there, with schemas of some of them."""
    names = [*required.split(), *optional.split()]
    properties = {name: inner.get(name, True) for name in names}
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


# Fields of ray.io/v1 as of KubeRay 1.7 that these manifests use or might, from its API reference.
CONTAINER = structure("name image env resources securityContext volumeMounts", "ports command args")
POD = structure(
    "containers volumes securityContext",
    "automountServiceAccountToken tolerations nodeSelector serviceAccountName imagePullSecrets",
    containers={"type": "array", "minItems": 1, "items": CONTAINER},
)
TEMPLATE = structure("spec", "metadata", spec=POD)
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
HEAD = structure(
    "rayStartParams template",
    "serviceType headService enableIngress resources labels",
    template=TEMPLATE,
    rayStartParams=TEXTS,
)
WORKER = structure(
    "groupName minReplicas maxReplicas rayStartParams template",
    "replicas numOfHosts idleTimeoutSeconds priority resources labels scaleStrategy",
    template=TEMPLATE,
    rayStartParams=TEXTS,
)
CLUSTER = structure(
    "headGroupSpec workerGroupSpecs rayVersion authOptions",
    "enableInTreeAutoscaling autoscalerOptions gcsFaultToleranceOptions networkPolicy tlsOptions suspend",
    headGroupSpec=HEAD,
    workerGroupSpecs={"type": "array", "minItems": 1, "items": WORKER},
    authOptions=structure("mode", "secretName", mode={"enum": ["token"]}),
    autoscalerOptions=structure(
        "version", "idleTimeoutSeconds upscalingMode resources", version={"enum": ["v1", "v2"]}
    ),
)
JOB = structure(
    "entrypoint backoffLimit shutdownAfterJobFinishes rayClusterSpec",
    "ttlSecondsAfterFinished activeDeadlineSeconds submissionMode runtimeEnvYAML jobId suspend submitterPodTemplate",
    rayClusterSpec=CLUSTER,
    backoffLimit={"type": "integer", "minimum": 1},
    shutdownAfterJobFinishes={"const": True},
)
QUOTAS = structure(
    "coveredResources flavors",
    flavors={"type": "array", "items": structure("name resources", resources={"type": "array"})},
)
SPECS = {
    ("ray.io/v1", "RayCluster"): CLUSTER,
    ("ray.io/v1", "RayJob"): JOB,
    ("v1", "PersistentVolumeClaim"): structure("accessModes storageClassName resources"),
    ("kueue.x-k8s.io/v1beta2", "ClusterQueue"): structure(
        "namespaceSelector resourceGroups",
        "queueingStrategy preemption",
        resourceGroups={"type": "array", "items": QUOTAS},
    ),
    ("kueue.x-k8s.io/v1beta2", "LocalQueue"): structure("clusterQueue"),
    ("kueue.x-k8s.io/v1beta2", "ResourceFlavor"): None,
}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def patched(document: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """A document after the operations of a JSON patch (RFC 6902): add, replace and remove."""
    document = copy.deepcopy(document)
    for step in patch:
        *parents, last = step["path"].strip("/").split("/")
        place: Any = document
        for part in parents:
            place = place[int(part) if isinstance(place, list) else part]
        assert step["op"] == "add" or last in place, step
        if step["op"] == "remove":
            del place[last]
        else:
            place[last] = step["value"]
    return document


def queued_job() -> dict[str, Any]:
    """The RayJob that `kubectl apply -k deploy/kubernetes/kueue` sends."""
    (overlay,) = documents("kueue/kustomization.yaml")
    assert overlay["resources"] == ["../job", "queues.yaml"]
    assert documents("job/kustomization.yaml")[0]["resources"] == ["rayjob.yaml"]
    (patch,) = overlay["patches"]
    (job,) = documents("job/rayjob.yaml")
    assert job["kind"] == patch["target"]["kind"]
    return patched(job, yaml.safe_load(patch["patch"]))


def manifests() -> dict[str, dict[str, Any]]:
    files = ("storage.yaml", "raycluster.yaml", "job/rayjob.yaml", "kueue/queues.yaml")
    found = {f"{name} {one['kind']}": one for name in files for one in documents(name)}
    return found | {"kueue RayJob": queued_job()}


MANIFESTS = manifests()
RAY_CLUSTERS = {
    "RayCluster": MANIFESTS["raycluster.yaml RayCluster"]["spec"],
    "RayJob": MANIFESTS["job/rayjob.yaml RayJob"]["spec"]["rayClusterSpec"],
    "RayJob behind a queue": MANIFESTS["kueue RayJob"]["spec"]["rayClusterSpec"],
}


def pods(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


@pytest.fixture(params=RAY_CLUSTERS.values(), ids=RAY_CLUSTERS)
def spec(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The Ray cluster that a manifest asks for."""
    return request.param


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_has_the_fields_of_its_kind_and_no_others(manifest: dict[str, Any]) -> None:
    inner = SPECS[manifest["apiVersion"], manifest["kind"]]
    fields = structure("apiVersion kind metadata spec", spec=inner) if inner else structure("apiVersion kind metadata")
    jsonschema.validate(manifest, fields)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", manifest["metadata"]["name"])


def test_a_typing_mistake_is_found() -> None:
    broken = copy.deepcopy(RAY_CLUSTERS["RayCluster"])
    broken["workerGroupSpecs"][0]["maxReplica"] = 2
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.validate(broken, CLUSTER)


def test_the_job_makes_the_cluster_that_the_cluster_file_makes() -> None:
    assert RAY_CLUSTERS["RayJob"] == RAY_CLUSTERS["RayCluster"]


def test_ray_is_the_locked_one_and_asks_for_a_token(spec: dict[str, Any]) -> None:
    assert spec["rayVersion"] == ray.__version__
    assert spec["authOptions"]["mode"] == "token"


def test_the_head_does_not_train(spec: dict[str, Any]) -> None:
    assert spec["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    assert "nvidia.com/gpu" not in pods(spec)[0]["containers"][0]["resources"]["requests"]


def test_the_head_names_its_ports(spec: dict[str, Any]) -> None:
    ports = {port["name"]: port["containerPort"] for port in pods(spec)[0]["containers"][0]["ports"]}
    assert ports == {"gcs-server": 6379, "dashboard": 8265, "metrics": 8080}


def test_what_a_pod_asks_for_is_what_it_may_use(spec: dict[str, Any]) -> None:
    for pod in pods(spec):
        for container in pod["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])


def test_a_worker_holds_a_worker_group_of_the_papers_spaces(spec: dict[str, Any]) -> None:
    wanted = pods(spec)[1]["containers"][0]["resources"]["requests"]
    assert (int(wanted["nvidia.com/gpu"]), int(wanted["cpu"])) >= (8, 8 * 8)


def test_every_pod_has_the_image_and_the_shared_folder(spec: dict[str, Any]) -> None:
    claims = {MANIFESTS["storage.yaml PersistentVolumeClaim"]["metadata"]["name"]}
    assert len({container["image"] for pod in pods(spec) for container in pod["containers"]}) == 1
    for pod in pods(spec):
        volumes = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]}
        assert set(volumes.values()) == claims
        for container in pod["containers"]:
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounts == dict.fromkeys(volumes, SHARED)
            environment = {entry["name"]: entry["value"] for entry in container["env"]}
            assert set(environment) == {"OMSWEEP_CACHE", "HF_HOME"}
            assert all(value.startswith(f"{SHARED}/") for value in environment.values())


def test_no_pod_runs_as_root_or_can_become_it(spec: dict[str, Any]) -> None:
    for pod in pods(spec):
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            least = container["securityContext"]
            assert least == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert all(pod["automountServiceAccountToken"] is False for pod in pods(spec)[1:])  # the head's autoscaler needs it


def test_the_shared_folder_can_be_written_by_several_nodes() -> None:
    assert MANIFESTS["storage.yaml PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]


@pytest.mark.parametrize("name", ["RayCluster", "RayJob"])
def test_workers_come_and_go(name: str) -> None:
    assert RAY_CLUSTERS[name]["enableInTreeAutoscaling"] is True
    for group in RAY_CLUSTERS[name]["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] < group["maxReplicas"]


@pytest.mark.parametrize("name", ["job/rayjob.yaml RayJob", "kueue RayJob"])
def test_the_entrypoint_is_a_sweep_of_a_file_that_the_image_has(name: str) -> None:
    program, *arguments = shlex.split(MANIFESTS[name]["spec"]["entrypoint"])
    assert program == "omsweep"
    assert 'omsweep = "omsweep.cli:main"' in (ROOT / "pyproject.toml").read_text()
    options = cli._parser().parse_args(arguments)
    assert str(options.space).startswith(INSTALLED)
    assert (ROOT / str(options.space).removeprefix(INSTALLED)).is_file()
    assert options.storage.startswith(f"{SHARED}/")
    assert f"COPY . {INSTALLED.rstrip('/')}\n" in (ROOT / "deploy/Containerfile").read_text()


def test_a_queued_job_waits_in_a_queue_that_has_room_for_all_of_it() -> None:
    job, local = MANIFESTS["kueue RayJob"], MANIFESTS["kueue/queues.yaml LocalQueue"]
    queue, flavor = MANIFESTS["kueue/queues.yaml ClusterQueue"], MANIFESTS["kueue/queues.yaml ResourceFlavor"]
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == local["metadata"]["name"]
    assert local["spec"]["clusterQueue"] == queue["metadata"]["name"]
    (group,) = queue["spec"]["resourceGroups"]
    (offered,) = group["flavors"]
    assert offered["name"] == flavor["metadata"]["name"]
    quota = {row["name"]: amount(row["nominalQuota"]) for row in offered["resources"]}
    assert list(quota) == group["coveredResources"]
    head, worker = (pod["containers"][0]["resources"]["requests"] for pod in pods(job["spec"]["rayClusterSpec"]))
    count = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"]
    for name, available in quota.items():
        assert count * amount(worker[name]) + amount(head.get(name, 0)) <= available
        assert (count + 1) * amount(worker[name]) > available


def amount(quantity: str | int) -> float:
    """A Kubernetes quantity as a number: `960Gi`, `"8"`, 16."""
    text = str(quantity)
    return float(text.removesuffix("Gi")) * 2**30 if text.endswith("Gi") else float(text)


def test_a_queued_job_is_one_that_kueue_takes() -> None:
    """Kueue starts and stops a job by `suspend`; it refuses one whose cluster stays, or that scales by itself."""
    spec = MANIFESTS["kueue RayJob"]["spec"]
    assert spec["suspend"] is True
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["rayClusterSpec"]["enableInTreeAutoscaling"] is False
    for group in spec["rayClusterSpec"]["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] == group["maxReplicas"] > 0
