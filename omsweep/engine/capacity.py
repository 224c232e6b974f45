"""What the cluster can take now and what its autoscaler may add: read while a sweep runs, and waited for.

One trial's workers are placed by Ray; here is decided when the next trial may ask for them, so that none waits for
workers while it could be waiting for its turn. Nodes that join or leave, other jobs that come or go, all count from the
next look on.
"""

import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._private.state import available_resources_per_node
from ray._private.state import state as ray_state
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import DefaultAutoscalingCoordinator
from ray.experimental.internal_kv import _internal_kv_get
from ray.util.placement_group import placement_group_table

from omsweep.engine.placement import BESIDE_WORKERS, Amounts, Nodes, Want, Worker, fits, kinds, largest, worker_for
from omsweep.families.family import GIB, Resources
from omsweep.plan.attempts import scoring
from omsweep.space.checks.fit import need_of, scoring_bytes
from omsweep.space.resources import scorer_resources, worker_resources
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TrialIdentity

LOOK_SECONDS = 1.0
"""The cluster is looked at at most so often."""
ASK_SECONDS, ASKED_FOR_SECONDS = 20.0, 120.0
"""How often the autoscaler is asked again, and when it forgets what a driver that is gone asked for."""
SAY_SECONDS = 60.0
MOST_AT_ONCE = 64
"""An autoscaler is asked for room for at most so many more trials: its own limit is not known."""
READ_ONLY = re.compile(r"node_[0-9a-f]+")
"""How Ray's autoscaler names node types that it only looks at, after the node: nothing adds nodes to such a cluster."""


class NoRoom(RuntimeError):
    """A sweep waited for nodes, and none came."""


class Cluster(NamedTuple):
    """One look at the cluster.

    Attributes:
        total: what the nodes have that are up and stay.
        free: what is free on them.
        ours: bundles of this job's placement groups by node, but those that hold no worker.
        grows: whether an autoscaler may add nodes; Ray does not say what they would have.
    """

    total: Nodes
    free: Nodes
    ours: Sequence[tuple[str, Amounts]] = ()
    grows: bool = False


def look() -> Cluster:
    """Look at the Ray that this process is connected to.

    Groups first: what is placed between the two looks is counted twice rather than not at all.
    """
    job = ray.get_runtime_context().get_job_id()
    draining = ray_state.get_draining_nodes()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in draining]
    ours = [
        (table["bundles_to_node_id"][index], bundle)
        for group, table in placement_group_table().items()
        if table["state"] == "CREATED" and group.endswith(job)  # how Ray names groups
        for index, bundle in table["bundles"].items()
        if not BESIDE_WORKERS.items() <= bundle.items()
    ]
    free = available_resources_per_node()
    return Cluster(
        total={node["NodeID"]: node["Resources"] for node in nodes},
        free={node["NodeID"]: free.get(node["NodeID"], {}) for node in nodes},
        ours=ours,
        grows=not all(READ_ONLY.fullmatch(kind) for kind in _node_types()),
    )


def _node_types() -> list[str]:
    """The types of the nodes that are up, as an autoscaler names them; none where it has not said anything yet."""
    if is_autoscaler_v2():
        status = get_cluster_status(ray.get_runtime_context().gcs_address)
        return [node.ray_node_type_name for node in (*status.active_nodes, *status.idle_nodes)]
    status = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}")
    return list((status.get("autoscaler_report") or {}).get("active_nodes", ()))


class Capacity:
    """Which trials may start.

    Args:
        space: of the sweep.
        say: is told what is waited for.
        look: at the cluster.
        clock: seconds.

    Attributes:
        workers: what a group of each family's occupies.
        needs: the same, and under `omsweep.plan.attempts.scoring` of a family what one occupies that only scores, where
            there are such.
        scores: whether a trial's job, running or wanted, is for one of these.

    Raises:
        ValueError: a family's trial fits on no node that there is or may be.
    """

    def __init__(
        self,
        space: SearchSpace,
        say: Callable[[str], None],
        look: Callable[[], Cluster] = look,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._train = train = space.file.train
        self.scores: Callable[[TrialIdentity], bool] = lambda spec: False
        self._say, self._look_at, self._clock = say, look, clock
        self._seen: tuple[float, Cluster] = (-math.inf, Cluster({}, {}))
        self._waits: tuple[float, float] | None = None  # since when, and when that was said last
        self._asked = -math.inf
        self._coordinator: DefaultAutoscalingCoordinator | None = None
        self._kinds: dict[tuple[str, int], str] = {}
        self.needs: dict[str, Worker] = {}
        self._asks: dict[str, Worker] = {}
        for family in space.families:
            need, declared = need_of(space, family), worker_resources(train, family)
            self._add("train", family.name, declared, 0 if need is None else need.total, train.workers)
        self.workers = dict(self.needs)
        if (count := (evaluate := space.file.evaluate).workers) is not None:
            for family in space.families:
                need, declared = need_of(space, family), scorer_resources(evaluate, train, family)
                known = 0 if need is None else scoring_bytes(need.load)
                self._add("evaluate", scoring(family.name), declared, known, count)

    def await_nodes(self) -> None:
        """Wait until each job of every family would fit on the nodes that are up, whatever else runs there.

        Raises:
            NoRoom: none came within `train.wait_timeout`.
        """
        while missing := [name for name in self.needs if not fits([self._want(name)], self._look().total)]:
            self.ask(list(self.needs))
            self.wait(missing[0])
            time.sleep(LOOK_SECONDS)
        self._waits = None

    def worker(self, spec: TrialIdentity, running: Sequence[TrialIdentity]) -> Worker | None:
        """What each worker of a trial gets that may start now beside those that run; None where it may not.

        All trials of a block run on accelerators of one kind, so that its comparisons are of recipes alone.
        """
        if self._train.concurrent_trials is not None and len(running) >= self._train.concurrent_trials:
            return None
        key = self.key_of(spec)
        cluster, worker, held = self._look(), self.needs[key], self._held(running)
        known = self._kinds.get(_block(spec)) if worker.gpus else None
        choices: list[str | None] = [known] if known else [*kinds(cluster.total)] if worker.gpus else []
        for kind in choices or [None]:
            if self._free_for(self._want(key, kind), held, cluster):
                if kind is not None and spec.block is not None:
                    self._kinds[_block(spec)] = kind
                self._waits = None
                return replace(worker, accelerator=kind if spec.block is not None else None)
        return None

    def keep_to(self, spec: TrialIdentity, accelerator: str) -> None:
        """Note on which kind of accelerator a block's trials have run."""
        self._kinds.setdefault(_block(spec), accelerator)

    def any_room(self, running: Sequence[TrialIdentity]) -> bool:
        """Whether a trial of some family could start."""
        limit = self._train.concurrent_trials
        if limit is not None and len(running) >= limit:
            return False
        held = self._held(running)
        return any(self._free_for(self._want(name), held, self._look()) for name in self.workers)

    def fits_beside(self, worker: Worker, running: Sequence[TrialIdentity], idle: Sequence[Worker]) -> bool:
        """Whether a group fits beside those of running trials and idle ones, where groups train or score."""
        held = [*self._held(running), *(one.want() for one in idle)]
        return len(self.needs) > len(self.workers) and self._free_for(worker.want(), held, self._look())

    def key_of(self, spec: TrialIdentity) -> str:
        """Under which key of `needs` a trial's job is."""
        return scoring(spec.family) if self.scores(spec) else spec.family

    def at_once(self) -> int:
        """How many trials of the smallest family the nodes that are up could hold, with nothing else on them."""
        smallest = min(self.workers, key=lambda name: self.workers[name].cpus)
        count, total = 0, self._look().total
        while count < MOST_AT_ONCE and fits([self._want(smallest)] * (count + 1), total):
            count += 1
        return min(count, self._train.concurrent_trials or count)

    def ask(self, jobs: Sequence[str]) -> None:
        """Ask the autoscaler, if there is one, for room for each of these (keys of `needs`); it gives what it may.

        Memory that nobody declared is not asked for: some node types are not known to have any.
        """
        now = self._clock()
        if not self._look().grows or now - self._asked < ASK_SECONDS:
            return
        if self._coordinator is None:
            self._coordinator = DefaultAutoscalingCoordinator(_requester())
        bundles = [self._asks[key].bundle() for key in jobs for _ in range(self._asks[key].count)]
        self._coordinator.request_resources(bundles, expire_after_s=ASKED_FOR_SECONDS)
        self._asked = now

    def ask_for(self, running: Sequence[TrialIdentity], left: Mapping[str, int]) -> None:
        """Ask for room for the trials that run and, as far as they may run at once, for what is left by key of `needs`.

        Under `backend: train` Ray Train asks for the workers of those that run.
        """
        held = [] if self._train.backend == "train" else [self.key_of(one) for one in running]
        limit = MOST_AT_ONCE if self._train.concurrent_trials is None else self._train.concurrent_trials - len(running)
        more = [name for name, count in left.items() for _ in range(min(count, max(0, limit)))]
        self.ask([*held, *more[: max(0, limit)]])

    def ask_for_nothing(self) -> None:
        """Let the autoscaler take nodes away."""
        if self._coordinator is not None:
            self._coordinator.cancel_request()

    def wait(self, key: str) -> None:
        """Note that nothing runs and a job (by key of `needs`) waits for room; it is said, and said again each minute.

        Raises:
            NoRoom: it has waited for `train.wait_timeout`, or not even this process's node is up.
        """
        now, limit = self._clock(), self._train.wait_timeout
        since, said = self._waits or (now, -math.inf)
        cluster = self._look()
        if not cluster.total:
            raise NoRoom(
                "Ray has no node left, not even the one of this process: it was ended, or had no time to answer"
            )
        needs = f"a trial of {key} needs {self.needs[key].describe()}"
        if now - since >= limit:
            raise NoRoom(
                f"{needs}, and nodes with that free did not come within train.wait_timeout, {limit:g} s; the nodes that"
                f" are up have at most {largest(cluster.total.values())} each"
            )
        if now - said >= SAY_SECONDS:
            asked = "; the autoscaler is asked for it" if cluster.grows else ""
            self._say(f"waiting for room: {needs}{asked} ({now - since:.0f} s of {limit:g})")
            said = now
        self._waits = since, said

    def _look(self) -> Cluster:
        now = self._clock()
        if now - self._seen[0] >= LOOK_SECONDS:
            self._seen = now, self._look_at()
        return self._seen[1]

    def _want(self, key: str, kind: str | None = None) -> Want:
        return replace(self.needs[key], accelerator=kind).want()

    def _held(self, running: Sequence[TrialIdentity]) -> list[Want]:
        keys = [(self.key_of(one), self._kinds.get(_block(one))) for one in running]
        return [self._want(key, kind if self.needs[key].gpus else None) for key, kind in keys]

    def _free_for(self, want: Want, held: Sequence[Want], cluster: Cluster) -> bool:
        """Whether a trial fits beside those that run, some of which wait for their workers.

        What ended trials still hold is given back, or taken over, by the time that its successor needs it.
        """
        waiting, spare = _unplaced(held, cluster.ours)
        free = {node: dict(amounts) for node, amounts in cluster.free.items()}
        for node, bundle in spare:
            for name, amount in bundle.items() if node in free else ():
                free[node][name] = free[node].get(name, 0.0) + amount
        return fits([*waiting, want], free)

    def _add(self, section: str, key: str, declared: Resources, known: float, count: int) -> None:
        """Note what a job needs, workers of which take so many bytes of memory as far as is known.

        ValueError where no node takes a worker and none is added; a head alone may get nodes by hand.
        """
        cluster = self._look()
        # in whole GiB: families of about one size take each other's workers
        memory = 0 if declared.gpus else math.ceil(known / GIB) * GIB
        worker = worker_for(declared, memory, count, None if cluster.grows else cluster.total)
        self.needs[key] = worker
        self._asks[key] = replace(worker, memory=worker.memory if declared.memory_gib else 0.0)
        nodes = cluster.total.values()
        alone = not any(amounts.get("CPU") for amounts in nodes)
        if not (alone or cluster.grows or fits([worker.want()], cluster.total)):
            raise ValueError(
                f"{section}.resources_per_worker cannot be placed: a trial of {key} needs {worker.describe()}, and the"
                f" nodes have at most {largest(nodes)} each, {len(nodes)} of them; a worker lies on one node"
            )


def _requester() -> str:
    return f"omsweep-{ray.get_runtime_context().get_job_id()}"


def _block(spec: TrialIdentity) -> tuple[str, int]:
    return spec.family, -1 if spec.block is None else spec.block


def _unplaced(
    held: Sequence[Want], ours: Sequence[tuple[str, Amounts]]
) -> tuple[list[Want], list[tuple[str, Amounts]]]:
    """Of the trials that run those workers that are not placed, and what is placed that none of them has."""
    wanted: Counter[tuple[tuple[str, float], ...]] = Counter()
    for want in held:
        wanted[_key(want.bundle)] += want.workers
    spare = []
    for node, bundle in ours:
        if wanted[_key(bundle)] > 0:
            wanted[_key(bundle)] -= 1
        else:
            spare.append((node, bundle))
    return [Want(dict(key), count) for key, count in wanted.items() if count > 0], spare


def _key(bundle: Amounts) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((name, round(amount, 3)) for name, amount in bundle.items()))
