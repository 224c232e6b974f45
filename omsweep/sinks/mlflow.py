"""A sweep in MLflow: one parent run with one child run per trial. The only file that imports mlflow.

Everything goes through `MlflowClient` with explicit run ids: no active run is set, so one driver can write
several trials at a time. Numbers that are not finite are left out, never logged as NaN.
"""

import logging
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omsweep.quiet import quiet_loggers, without_warnings
from omsweep.redaction import redacted
from omsweep.store.records import SHOWN, TrialIdentity, TrialRecord
from omsweep.strict_json import flatten

RUN_STATUS = {
    "completed": "FINISHED",
    "stopped": "FINISHED",
    "diverged": "FAILED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
SWEEP_FILES = (
    *("sweep.json", "trials.jsonl", "references.json", "front.json", "front.png", "report.html"),
    *("comparison.json", "comparison.md", "comparison.tex", "comparison.png"),
    *("study.md", "study.tex", "study.png"),
)
LONGEST_PARAM, LONGEST_TAG, PARAMS_PER_CALL = 6000, 8000, 100
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines per trial, with whatever the server's address holds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's own 7 and 120 s hold a sweep up for minutes a call
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
}
"""Environment variables of MLflow that are set unless the user has set them."""
REFUSALS = (400, 404, 409)
"""HTTP status codes with which MLflow says that a write is wrong, not that the store cannot be reached."""
LOSS_POINTS = 500


class Tracker:
    """Writes one sweep into an MLflow tracking store.

    On a sqlite store the experiment's artifacts go to `mlartifacts/<experiment>` beside the database;
    elsewhere the store decides. A write that raised may be made again: a run it has opened is used again.

    Args:
        tracking_uri: for example `sqlite:///runs/mlflow.db` or `http://host:5000`.
        experiment: its name; made when there is none.

    Raises:
        ValueError: the store cannot be used, or the experiment was deleted; the message names both.
    """

    def __init__(self, tracking_uri: str, experiment: str) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)  # some are read when mlflow is imported
        _check_database_folder(tracking_uri)
        with _usable(tracking_uri), _quiet_migrations():
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=tracking_uri)
            found = self._client.get_experiment_by_name(experiment)
            if found is None:
                location = _artifact_location(tracking_uri, experiment)
                self.experiment_id = self._client.create_experiment(experiment, artifact_location=location)
            elif found.lifecycle_stage != "active":
                raise ValueError(f"experiment {experiment!r} was deleted there: restore it or take another name")
            else:
                self.experiment_id = found.experiment_id
        self.place = redacted(tracking_uri)
        self.experiment = experiment
        self.sweep_run_id: str | None = None
        self._open: dict[str, str] = {}

    def start_sweep(self, params: Mapping[str, Any], tags: Mapping[str, Any] | None = None) -> str:
        """Start the parent run with the resolved space as flattened params; return its run id."""
        if self.sweep_run_id is None:
            self.sweep_run_id = self._create(self.experiment, {"omsweep.run": "sweep", **(tags or {})})
        self._log(self.sweep_run_id, params=params)
        return self.sweep_run_id

    def start_trial(self, spec: TrialIdentity) -> str:
        """Start a child run of the sweep for one trial; return its run id (`mlflow_run_id` of the record)."""
        assert self.sweep_run_id is not None, "start_sweep comes first"
        trial_id = spec.trial_id
        identity = {name: getattr(spec, name) for name in TrialIdentity.model_fields if name != "params"}
        if trial_id not in self._open:
            own = {"mlflow.parentRunId": self.sweep_run_id, "omsweep.run": "trial", "trial_id": trial_id}
            tags = {name: identity.get(name) for name, shown in TrialIdentity.shown() if shown.mlflow == "tag"}
            self._open[trial_id] = self._create(trial_id, {**tags, **own})
        known = {name: value for name, value in identity.items() if value is not None}
        self._log(self._open[trial_id], params={**known, **spec.params})
        return self._open[trial_id]

    def open_run(self, trial_id: str) -> str | None:
        """The run of a trial that has started and not ended, None where it has none."""
        return self._open.get(trial_id)

    def end_trial(
        self,
        record: TrialRecord,
        reference_scores: Mapping[str, float | None] | None = None,
        losses: Sequence[float | None] = (),
    ) -> None:
        """End a trial's run from its record: training curve, metrics, tags, status.

        Args:
            record: of the trial; its run is `mlflow_run_id` if set, else the one `start_trial` opened, else a new one.
            reference_scores: category scores in [0, 1] of the family's SFT model; with them `tax.<category>`
                is logged, reference minus policy, in points.
            losses: of each step, logged as `loss`, steps from 1; evenly thinned to `LOSS_POINTS` where it is longer.
        """
        run_id = record.mlflow_run_id or self._open.get(record.trial_id)
        if run_id is None:
            run_id = self.start_trial(record)
        tags = {name: getattr(record, name) for name, shown in SHOWN.items() if shown.mlflow == "tag"}
        if record.merge_active is False:
            tags["merge"] = "inactive"
        try:
            self._log_losses(run_id, losses)
            self._log(run_id, metrics=trial_metrics(record, reference_scores or {}), tags=tags)
        except Exception as error:
            if is_refusal(error):  # it is not written again, and the trial has ended all the same
                self._end(record, run_id)
            raise
        self._end(record, run_id)

    def _end(self, record: TrialRecord, run_id: str) -> None:
        self._client.set_terminated(run_id, status=RUN_STATUS[record.state])
        self._open.pop(record.trial_id, None)

    def log_hypervolume(self, per_family: Mapping[str, float], step: int) -> None:
        """Log `hypervolume.<family>` and their mean `hypervolume` on the parent; `step` = finished trials."""
        assert self.sweep_run_id is not None, "start_sweep comes first"
        metrics = {f"hypervolume.{family}": value for family, value in per_family.items()}
        if per_family:
            metrics["hypervolume"] = sum(per_family.values()) / len(per_family)
        self._log(self.sweep_run_id, metrics=metrics, step=step)

    def log_artifacts(self, paths: Path | Iterable[Path]) -> None:
        """Log files on the parent: the given ones, or those of `SWEEP_FILES` that a sweep's folder has."""
        assert self.sweep_run_id is not None, "start_sweep comes first"
        if isinstance(paths, Path):
            paths = [paths / name for name in SWEEP_FILES if (paths / name).is_file()]
        for path in paths:
            self._client.log_artifact(self.sweep_run_id, str(path))

    def finish(self, status: str = "completed", error: str | None = None) -> None:
        """End the sweep's run; trials still running are KILLED, since nothing will end them any more.

        Args:
            status: `completed`, `failed` or `interrupted`.
            error: what stopped the sweep, logged as a tag.
        """
        assert self.sweep_run_id is not None, "start_sweep comes first"
        for run_id in self._open.values():
            self._log(run_id, tags={"state": "interrupted"})
            self._client.set_terminated(run_id, status=RUN_STATUS["interrupted"])
        self._open.clear()
        self._log(self.sweep_run_id, tags={"state": status, "error": error})
        self._client.set_terminated(self.sweep_run_id, status=RUN_STATUS[status])

    def _create(self, name: str, tags: Mapping[str, Any]) -> str:
        return str(self._client.create_run(self.experiment_id, run_name=name, tags=_tags(tags)).info.run_id)

    def _log_losses(self, run_id: str, losses: Sequence[float | None]) -> None:
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        stride = max(1, math.ceil(len(losses) / LOSS_POINTS))
        now = get_current_time_millis()
        thinned = [(i + 1, loss) for i, loss in enumerate(losses) if i % stride == 0]
        finite = [Metric("loss", loss, now, step) for step, loss in thinned if loss is not None and math.isfinite(loss)]
        if finite:
            self._client.log_batch(run_id, metrics=finite)

    def _log(
        self,
        run_id: str,
        *,
        metrics: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        step: int = 0,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        finite = {key: float(value) for key, value in (metrics or {}).items() if _is_finite_number(value)}
        self._client.log_batch(
            run_id,
            metrics=[Metric(_key(key), value, now, step) for key, value in finite.items()],
            tags=[RunTag(key, value) for key, value in _tags(tags or {}).items()],
        )
        entries = [Param(_key(key), _cut(str(value), LONGEST_PARAM)) for key, value in flatten(params or {}).items()]
        for start in range(0, len(entries), PARAMS_PER_CALL):
            self._client.log_batch(run_id, params=entries[start : start + PARAMS_PER_CALL])


def is_refusal(error: Exception) -> bool:
    """Whether a write that raised would raise again however often it is tried: it is wrong, or our code is."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.get_http_status_code() in REFUSALS
    return not isinstance(error, OSError)


def trial_metrics(record: TrialRecord, reference_scores: Mapping[str, float | None]) -> dict[str, Any]:
    """A trial's numbers by metric name: mappings as `<field>.<name>`, `tax.<category>` in points."""
    metrics: dict[str, Any] = {}
    for name, shown in SHOWN.items():
        if shown.mlflow == "metric":
            metrics[name] = getattr(record, name)
        elif shown.mlflow == "metrics":
            metrics |= {f"{name}.{entry}": value for entry, value in getattr(record, name).items()}
    for category, score in record.scores.items():
        reference = reference_scores.get(category)
        if score is not None and reference is not None:
            metrics[f"tax.{category}"] = 100 * (reference - score)
    return metrics


def _tags(tags: Mapping[str, Any]) -> dict[str, str]:
    return {_key(key): _cut(str(value), LONGEST_TAG) for key, value in tags.items() if value is not None}


def _key(name: str) -> str:
    """`name` with what MLflow does not allow in keys replaced by `_`; it refuses path-like keys too."""
    return re.sub(r"/+", "/", re.sub(r"[^A-Za-z0-9_. :/-]", "_", name))[:250].strip("/")


def _cut(text: str, longest: int) -> str:
    note = f" [cut: {len(text)} characters]"
    return text if len(text) <= longest else text[: longest - len(note)] + note


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _database_file(tracking_uri: str) -> Path | None:
    path = tracking_uri.removeprefix("sqlite:///")
    return None if path == tracking_uri or path in ("", ":memory:") else Path(path).absolute()


def _artifact_location(tracking_uri: str, experiment: str) -> str | None:
    database = _database_file(tracking_uri)
    return None if database is None else (database.parent / "mlartifacts" / experiment).as_uri()


def _check_database_folder(tracking_uri: str) -> None:
    """Refuse at once what MLflow would retry for a minute."""
    database = _database_file(tracking_uri)
    if database is None:
        return
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        database.open("ab").close()
    except OSError as refusal:
        raise ValueError(f"tracking URI {tracking_uri} cannot be used: {refusal}") from refusal


@contextmanager
def _usable(tracking_uri: str) -> Iterator[None]:
    """Name the store in whatever goes wrong while connecting, without the password a URI may hold."""
    try:
        yield
    except Exception as refusal:
        raise ValueError(redacted(f"tracking URI {tracking_uri} cannot be used: {refusal}")) from None


@contextmanager
def _quiet_migrations() -> Iterator[None]:
    """Drop the some sixty lines a new database's migrations log, and restore the loggers after."""
    with (
        quiet_loggers("alembic", "mlflow.store.db.utils", level=logging.WARNING),
        without_warnings(DeprecationWarning),
    ):
        yield
