"""A sweep in MLflow: one parent run with one child run per trial.

Everything goes through `MlflowClient` with explicit run ids: no active run is set, so one driver can write
several trials at a time. Numbers that are not finite are left out, never logged as NaN.
"""

import logging
import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from omsweep.redaction import without_credentials
from omsweep.sinks.cursor import Cursor, run_id_of
from omsweep.sinks.data_sets import as_inputs
from omsweep.sinks.described import placed, sweep_id_of
from omsweep.sinks.experiment import opened
from omsweep.sinks.fields import LONGEST_PARAM, LONGEST_TAG, clean, cut, key_of, tags_of
from omsweep.sinks.first_connection import absolute, connected
from omsweep.sinks.follow import Follower, Tell
from omsweep.sinks.models import delete_models_of_others, model_calls
from omsweep.sinks.run_write import Write
from omsweep.sinks.views import runs_page, view_key, view_page
from omsweep.sinks.writes import RUNNING, SWEEP_FILES
from omsweep.store.lease import LeaseLost
from omsweep.store.log import SweepLog
from omsweep.store.state import SweepState
from omsweep.store.storage import Storage
from omsweep.strict_json import flatten

PARAMS_PER_CALL, POINTS_PER_CALL = 100, 999
UI = "http://127.0.0.1:5000"
"""Where `mlflow ui` answers."""
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
        former = Cursor.read(storage)
        self._experiment_id = store.experiment_id or (former.experiment_id if former else None)

    def addresses(self, state: SweepState) -> list[str]:
        """Lines that say where a browser finds the sweep: its project's runs, and its own view of reward and tax."""
        place = self._store.place
        served = place.startswith(("http://", "https://"))
        base = place.rstrip("/") if served else UI
        lines = [] if served else [f"MLflow: mlflow ui --backend-store-uri {shlex.quote(place)} --host 127.0.0.1"]
        if self._experiment_id is not None:
            view = view_page(self._experiment_id, view_key(sweep_id_of(state)))
            lines += [f"MLflow runs: {base}/{runs_page(self._experiment_id)}", f"reward and tax: {base}/{view}"]
        return lines


class MlflowStore:
    """The runs of one sweep in an MLflow tracking store; see `omsweep.sinks.follow.Store`."""

    def __init__(self, tracking_uri: str, experiment: str, folder: Path) -> None:
        self._uri = absolute(tracking_uri)
        self.place = without_credentials(self._uri)
        self.experiment = experiment
        self.copying = False
        self.experiment_id: str | None = None
        self._folder = folder
        self._client: Any = None
        self._sweep_id = self._name = ""
        self._tell: Tell = lambda trial_id, run_id: None
        self._runs: dict[str | None, str] = {}
        self._measured = self._doubled = False
        """Whether there may be two runs of one trial: a run that could not be made may come into being later."""

    def cursor(self) -> Cursor:
        """A cursor at the log's beginning; ValueError where the store cannot be used."""
        if self.experiment_id is None:
            self._client, self.experiment_id = connected(self._uri, lambda: opened(self._uri, self.experiment))
        return Cursor(tracking_uri=self.place, experiment=self.experiment, experiment_id=self.experiment_id)

    def open(self, state: SweepState, tell: Tell) -> None:
        """Hear which sweep it is, and whom to tell the ids of its runs."""
        self._name = state.created.get("name", self.experiment)
        self._sweep_id = sweep_id_of(state)
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
        delete_models_of_others(self._client, str(self.experiment_id), {SWEEP: self._sweep_id}, self._runs.values())
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
        given = tags_of({**(write.tags or {}), **own, MARK: write.mark})
        tags = [RunTag(key, value) for key, value in given.items()]
        if write.note is not None:
            tags.insert(0, RunTag("mlflow.note.content", cut(self._placed(write.note), LONGEST_TAG)))
        points = [Metric(key_of(point.key), point.value, point.time, point.step) for point in write.points]
        if len(tags) > 1 or not points:
            yield partial(client.log_batch, run_id, tags=tags)
        for start in range(0, len(points), POINTS_PER_CALL):
            yield partial(client.log_batch, run_id, metrics=points[start : start + POINTS_PER_CALL], tags=tags[-1:])
        flat = flatten(write.params or {})
        params = [Param(key_of(key), cut(clean(value), LONGEST_PARAM)) for key, value in flat.items()]
        for start in range(0, len(params), PARAMS_PER_CALL):
            yield partial(client.log_batch, run_id, params=params[start : start + PARAMS_PER_CALL])
        yield from self._beside(run_id, write)
        if write.files:
            for name in SWEEP_FILES:
                if (self._folder / name).is_file():
                    yield partial(client.log_artifact, run_id, str(self._folder / name))
            if self._doubled:
                yield self._delete_doubled
        if write.status == RUNNING:
            yield partial(client.update_run, run_id, status=RUNNING)
            if write.measured:
                yield partial(self._measure, run_id)
        elif write.status is not None:
            yield partial(client.set_terminated, run_id, status=write.status, end_time=write.time)
        if write.models is not None:
            of, own = str(self.experiment_id), {SWEEP: self._sweep_id}
            yield from model_calls(client, of, own, self._runs, write.models, self._copy)

    def _beside(self, run_id: str, write: Write) -> Iterator[Callable[[], object]]:
        """What a run has beside params, metrics and tags."""
        client = self._client
        if write.data:
            yield partial(client.log_inputs, run_id, datasets=as_inputs(write.data))
        for key, value in (write.of_experiment or {}).items():
            yield partial(client.set_experiment_tag, self.experiment_id, key, value)
        for name, text in (write.texts or {}).items():
            yield partial(client.log_text, run_id, text, name)

    def _copy(self, model_id: str, policy: str) -> None:
        self.copying = True
        try:
            self._client.log_model_artifacts(model_id, policy)
        finally:
            self.copying = False

    def _measure(self, run_id: str) -> None:
        """Have MLflow log this machine's load until the run is closed, or the store is away."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        if not self._measured:
            logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)
            SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=self._uri).start()
            self._measured = True

    def _placed(self, note: str) -> str:
        return placed(note, experiment=str(self.experiment_id), sweep_run=self._runs[None], folder=str(self._folder))

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
        tags = tags_of({**self._identity(trial_id), MARK: write.mark})
        name = self._name if trial_id is None else write.name or trial_id
        try:
            run = self._client.create_run(self.experiment_id, start_time=write.time, run_name=name, tags=tags)
        except Exception:
            self._doubled = True
            raise
        return str(run.info.run_id)

    def _identity(self, trial_id: str | None) -> dict[str, str]:
        """Tags that say whose run it is."""
        own = {SWEEP: self._sweep_id, "sweep": self._name}
        if trial_id is None:
            return {**own, "omsweep.run": "sweep", "folder": str(self._folder)}
        parent = self._runs[None]
        return {**own, "omsweep.run": "trial", "mlflow.parentRunId": parent, TRIAL: trial_id, "trial_id": trial_id}

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
