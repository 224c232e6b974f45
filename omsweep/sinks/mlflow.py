"""A sweep in MLflow: one parent run with one child run per trial. The only file that imports mlflow.

Everything goes through `MlflowClient` with explicit run ids: no active run is set, so one driver can write
several trials at a time. Numbers that are not finite are left out, never logged as NaN.
"""

import hashlib
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from omsweep.redaction import redacted, visible, without_credentials
from omsweep.sinks.cursor import Cursor, run_id_of
from omsweep.sinks.first_connection import absolute, artifact_location, connected
from omsweep.sinks.follow import Follower, Tell
from omsweep.sinks.writes import RUNNING, SWEEP_FILES, Write
from omsweep.store.lease import LeaseLost
from omsweep.store.log import SweepLog
from omsweep.store.state import SweepState
from omsweep.store.storage import Storage
from omsweep.strict_json import flatten

LONGEST_PARAM, LONGEST_TAG, PARAMS_PER_CALL, POINTS_PER_CALL = 6000, 8000, 100, 999
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines per trial, with whatever the server's address holds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's own 7 and 120 s notice an outage after minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
}
"""Environment variables of MLflow that are set unless the user has set them."""
REFUSALS = (400, 404, 409)
"""HTTP status codes with which MLflow says that a write is wrong, not that the store cannot be reached."""
SWEEP, TRIAL, MARK = "omsweep.sweep_id", "omsweep.trial_id", "omsweep.event"
"""Tags by which a run is found again: of which sweep, of which trial, and the last event it was told."""


class MlflowSink(Follower):
    """Follows a sweep's log into an MLflow tracking store; see `Follower` for what it does while the store is away.

    On a sqlite store the experiment's artifacts go to `mlartifacts/<experiment>` beside the database;
    elsewhere the store decides.

    Args:
        storage: of the sweep.
        tracking_uri: for example `sqlite:///runs/mlflow.db` or `http://host:5000`.
        experiment: its name; made when there is none.
        folder: of the sweep, whose files the sweep's run holds in the end.
        warn: shows a line of text to the user.
        log: is told run ids.
        required: refuse a store that cannot be used now.

    Raises:
        ValueError: the store cannot be used, or the experiment was deleted; the message names both.
    """

    def __init__(
        self,
        storage: Storage,
        tracking_uri: str,
        experiment: str,
        folder: Path,
        warn: Callable[[str], None],
        log: SweepLog | None = None,
        *,
        required: bool = True,
    ) -> None:
        store = MlflowStore(tracking_uri, experiment, folder)
        if required:
            store.cursor()
        super().__init__(storage, store, folder, warn, log)


class MlflowStore:
    """The runs of one sweep in an MLflow tracking store; see `omsweep.sinks.follow.Store`."""

    def __init__(self, tracking_uri: str, experiment: str, folder: Path) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)  # some are read when mlflow is imported
        self._uri = absolute(tracking_uri)
        self.place = without_credentials(self._uri)
        self.experiment = experiment
        self.experiment_id: str | None = None
        self._folder = folder
        self._client: Any = None
        self._sweep_id = self._name = ""
        self._tell: Tell = lambda trial_id, run_id: None
        self._runs: dict[str | None, str] = {}
        self._doubled = False
        """Whether there may be two runs of one trial: a run that could not be made may come into being later."""

    def cursor(self) -> Cursor:
        """A cursor at the log's beginning; ValueError where the store cannot be used."""
        if self.experiment_id is None:
            self._client, self.experiment_id = connected(self._uri, lambda: _connected(self._uri, self.experiment))
        return Cursor(tracking_uri=self.place, experiment=self.experiment, experiment_id=self.experiment_id)

    def open(self, state: SweepState, tell: Tell) -> None:
        """Hear which sweep it is, and whom to tell the ids of its runs."""
        created = state.created
        self._name = created.get("name", self.experiment)
        self._sweep_id = created.get("sweep_id") or f"{self._name}-{created['created']}"
        self._tell = tell

    def resume(self, runs: Mapping[str | None, str]) -> bool:
        """Go on with these runs; False where the sweep's own is gone."""
        self._doubled = True
        if None in runs and not self._is_active(runs[None]):
            return False
        self._runs = dict(runs)
        return True

    def reconcile(self, state: SweepState, known: Callable[[str], bool]) -> None:
        """Delete runs that the log does not know, were told an event that is not `known` by mark, or are double."""
        told = {whose: run_id_of(state, whose) for whose in (None, *state.trials)}
        self._runs = {}
        for run in sorted(self._found(), key=lambda run: told.get(_whose(run)) != run.info.run_id):
            whose = _whose(run)
            if whose in told and whose not in self._runs and known(run.data.tags.get(MARK, "")):
                self._runs[whose] = run.info.run_id
            else:
                self._client.delete_run(run.info.run_id)
        for whose, run_id in self._runs.items():
            self._tell(whose, run_id)

    def write(self, write: Write) -> list[Exception]:
        """Write, again if need be; what was refused is returned, whatever else goes wrong is raised."""
        refused: list[Exception] = []
        try:
            calls = list(self._calls(self._run_of(write.trial_id, write), write))
        except Exception as error:
            if not self.is_refusal(error):
                raise
            return [error]
        for call in calls:
            try:
                call()
            except Exception as error:  # the other calls are made all the same: a trial has ended whatever its numbers
                if not self.is_refusal(error):
                    raise
                refused.append(error)
        return refused

    def is_refusal(self, error: Exception) -> bool:
        """Whether a write that raised would raise again however often it is tried: it is wrong, or our code is."""
        from mlflow.exceptions import MlflowException

        if isinstance(error, MlflowException):
            return error.get_http_status_code() in REFUSALS
        return not isinstance(error, OSError | LeaseLost)

    def _calls(self, run_id: str, write: Write) -> Iterator[Callable[[], object]]:
        """The mark comes no later than the points: no run has one of an event that is later than its mark."""
        from mlflow.entities import Metric, Param, RunTag

        client = self._client
        own = {} if write.params is None else self._identity(write.trial_id)
        given = _tags({**(write.tags or {}), **own, MARK: write.mark})
        tags = [RunTag(key, value) for key, value in given.items()]
        points = [Metric(_key(point.key), point.value, point.time, point.step) for point in write.points]
        if len(tags) > 1 or not points:
            yield partial(client.log_batch, run_id, tags=tags)
        for start in range(0, len(points), POINTS_PER_CALL):
            yield partial(client.log_batch, run_id, metrics=points[start : start + POINTS_PER_CALL], tags=tags[-1:])
        flat = flatten(write.params or {})
        params = [Param(_key(key), _cut(_clean(value), LONGEST_PARAM)) for key, value in flat.items()]
        for start in range(0, len(params), PARAMS_PER_CALL):
            yield partial(client.log_batch, run_id, params=params[start : start + PARAMS_PER_CALL])
        if write.files:
            for name in SWEEP_FILES:
                if (self._folder / name).is_file():
                    yield partial(client.log_artifact, run_id, str(self._folder / name))
            if self._doubled:
                yield self._delete_doubled
        if write.status == RUNNING:
            yield partial(client.update_run, run_id, status=RUNNING)
        elif write.status is not None:
            yield partial(client.set_terminated, run_id, status=write.status, end_time=write.time)

    def _run_of(self, trial_id: str | None, write: Write) -> str:
        """A run's id; it is looked up before it is made, since an earlier try may have made it."""
        if trial_id not in self._runs:
            if trial_id is not None:
                self._run_of(None, write)
            of = "omsweep.run" if trial_id is None else TRIAL
            found = self._found(f" and tags.`{of}` = '{trial_id or 'sweep'}'")
            run_id = found[0].info.run_id if found else self._made(trial_id, write)
            self._tell(trial_id, run_id)
            self._runs[trial_id] = run_id
        return self._runs[trial_id]

    def _made(self, trial_id: str | None, write: Write) -> str:
        tags = _tags({**self._identity(trial_id), MARK: write.mark})
        try:
            run = self._client.create_run(
                self.experiment_id, start_time=write.time, run_name=trial_id or self._name, tags=tags
            )
        except Exception:
            self._doubled = True
            raise
        return str(run.info.run_id)

    def _identity(self, trial_id: str | None) -> dict[str, str]:
        """Tags that say whose run it is."""
        if trial_id is None:
            return {SWEEP: self._sweep_id, "omsweep.run": "sweep", "folder": str(self._folder)}
        own = {"omsweep.run": "trial", "mlflow.parentRunId": self._runs[None], TRIAL: trial_id, "trial_id": trial_id}
        return {SWEEP: self._sweep_id, **own}

    def _found(self, which: str = "") -> list[Any]:
        """Runs of the sweep that are not deleted, the first that was made first."""
        runs: list[Any] = []
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs(
                [self.experiment_id],
                filter_string=f"tags.`{SWEEP}` = '{self._sweep_id}'{which}",
                max_results=1000,
                order_by=["attributes.start_time ASC"],
                page_token=token or None,
            )
            runs += page
            token = page.token or None
        return runs

    def _is_active(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.get_http_status_code() != 404:
                raise
            return False

    def _delete_doubled(self) -> None:
        for run in self._found():
            if self._runs.get(_whose(run), run.info.run_id) != run.info.run_id:
                self._client.delete_run(run.info.run_id)


def _whose(run: Any) -> str | None:
    """The trial that a run is of, None for the sweep's own."""
    trial_id: str | None = run.data.tags.get(TRIAL)
    return trial_id


def _tags(tags: Mapping[str, Any]) -> dict[str, str]:
    return {_key(key): _cut(_clean(value), LONGEST_TAG) for key, value in tags.items() if value is not None}


def _key(name: str) -> str:
    """`name` where MLflow takes it as a key, else what is left of it and a hash: two names never share a key.

    Letters of any script are taken; no other signs than these, no path-like keys, and 250 characters at most.
    """
    allowed = re.fullmatch(r"[\w. :/-]{1,250}", name) and posixpath.normpath(name) == name and name[0] not in "/."
    if allowed:
        return name
    left = re.sub(r"[^\w. :-]", "_", name)[:200].strip(" .")
    return f"{left}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def _clean(value: Any) -> str:
    return visible(redacted(str(value)), lines=True)


def _cut(text: str, longest: int) -> str:
    note = f" [cut: {len(text)} characters]"
    return text if len(text) <= longest else text[: longest - len(note)] + note


def _connected(tracking_uri: str, experiment: str) -> tuple[Any, str]:
    """A client and the experiment's id."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri)
    found = client.get_experiment_by_name(experiment) or _new_experiment(client, tracking_uri, experiment)
    if found.lifecycle_stage != "active":
        raise ValueError(f"experiment {experiment!r} was deleted there: restore it or take another name")
    client.set_experiment_tag(found.experiment_id, "omsweep", "sweep")  # a store that can only be read is found out
    return client, str(found.experiment_id)


def _new_experiment(client: Any, tracking_uri: str, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        client.create_experiment(name, artifact_location=artifact_location(tracking_uri, name))
    except MlflowException:
        if client.get_experiment_by_name(name) is None:  # nor has another sweep made it meanwhile
            raise
    return client.get_experiment_by_name(name)
