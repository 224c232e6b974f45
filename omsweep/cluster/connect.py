"""The Ray a sweep runs on: the cluster of the job or of $RAY_ADDRESS, else one of its own on this machine."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.job_config import JobConfig
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

from omsweep.cache import cache_root
from omsweep.cache.content import LIMIT
from omsweep.cluster.storage import in_ray_job
from omsweep.console import Console
from omsweep.foreign import calling

DRIVER_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the sweep prints its own progress
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the store and MLflow keep what the trials report
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "64",  # the sweep's own searcher holds trials back, Tune would start one at a time
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the line of a failed trial says it; Ray's report is in the trial's folder
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
WORKER_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # the default of 2 s delays every report and every end of a trial
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a search space mean the same in every process
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TQDM_DISABLE": "1",  # bars of libraries inside workers; our own come through Ray to the driver
}
LOCAL_SETTINGS = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process per trial that watches for nodes taken away
}
PASSED_ON = (
    *("HF_HUB_OFFLINE", "HF_HOME", "OMP_NUM_THREADS", LIMIT),
    *("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "RAY_TRAIN_ENABLE_STATE_TRACKING", *LOCAL_SETTINGS),
)
QUIET_LOGGERS = (
    "ray.tune.analysis.experiment_analysis",  # misses the result files that the store replaces
    "ray._private.authentication.authentication_token_setup",
    "ray.tune.utils.util",  # says that a step of its own took half a second
)
LOCAL_OBJECT_STORE_BYTES = 512 * 1024**2
ADDRESS, DASHBOARD_ADDRESS = "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"


def cluster_environment() -> dict[str, str]:
    """Environment of every worker process: settings of ours that the user has not set otherwise, and the cache."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**WORKER_SETTINGS, **passed, "OMSWEEP_CACHE": str(cache_root())}


@contextmanager
def connect(console: Console, *, job: str = "omsweep") -> Iterator[None]:
    """Connect to Ray for the length of a sweep; a Ray of our own ends with it, one that was there stays as it was.

    Args:
        console: where it is said.
        job: what Ray's dashboard calls this driver, unless it was submitted under another name.

    Raises:
        ValueError: no Ray at `RAY_ADDRESS`, or it is of Ray Client, through which Tune runs its driver, and so our
            events, elsewhere.
    """
    if ray.is_initialized():
        with _named(ray.get_runtime_context().gcs_address):
            yield
        return
    if os.environ.get(ADDRESS, "").startswith("ray://"):
        raise ValueError(
            f"{ADDRESS} must not be an address of Ray Client (ray://...): run the sweep on a node of the cluster with"
            f" {ADDRESS}=auto, or submit it with `omsweep submit`"
        )
    for name, value in DRIVER_SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    own = not (in_ray_job() or os.environ.get(ADDRESS))
    settings = {
        "logging_level": logging.WARNING,
        "job_config": JobConfig(metadata={"job_name": job}),
        "runtime_env": {"env_vars": (LOCAL_SETTINGS if own else {}) | cluster_environment()},
    }
    if not own:
        with calling(f"connect to Ray at {os.environ.get(ADDRESS, 'the address of its job')}"):
            context = ray.init(**settings)
    else:
        console.print("starting Ray on this machine")
        with _not_hung_up():
            context = ray.init(
                address="local",
                include_dashboard=True,  # without it stopped trials leak their workers' placement groups
                dashboard_host="127.0.0.1",
                object_store_memory=LOCAL_OBJECT_STORE_BYTES,
                **settings,
            )
    if context.dashboard_url:
        console.print(f"Ray dashboard: http://{context.dashboard_url}", highlight=False)
    try:
        with _named(ray.get_runtime_context().gcs_address):
            yield
    finally:
        ray.shutdown()


@contextmanager
def _not_hung_up() -> Iterator[None]:
    """Processes started here do not get SIGHUP, as Ray's do not get SIGINT: the driver needs them to end in order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _named(gcs_address: str) -> Iterator[None]:
    """Tell the trials' processes which Ray is theirs, and keep the driver's AWS secrets out of what Ray shows.

    Ray Train's placement group cleaner asks Ray's state API, which looks for any Ray on the machine where the
    environment names none, and fails or asks a foreign one. Tune puts the variables of its own list into each trial's
    runtime environment, which logs and the state API show to everyone; workers have the AWS variables of their node.
    """
    listed, before = set(ENV_VARS_TO_PROPAGATE), {name: os.environ.get(name) for name in (ADDRESS, DASHBOARD_ADDRESS)}
    os.environ |= {ADDRESS: gcs_address, DASHBOARD_ADDRESS: ""}  # the second, meant for `omsweep submit`, would win
    ENV_VARS_TO_PROPAGATE.update(before)
    ENV_VARS_TO_PROPAGATE.difference_update({name for name in listed if name.startswith("AWS_")})
    try:
        yield
    finally:
        ENV_VARS_TO_PROPAGATE.clear()
        ENV_VARS_TO_PROPAGATE.update(listed)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
