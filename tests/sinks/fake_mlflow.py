"""An MLflow store in memory, as its SQL store behaves: equal metrics are kept once, params never change."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST


class Page(list):
    token = None


class FakeClient:
    """The calls of `MlflowClient` that the sink makes; `around` may raise before a call or after it was carried out."""

    def __init__(self) -> None:
        self.runs: dict[str, Any] = {}
        self.models: dict[str, Any] = {}
        self.experiment_tags: dict[str, str] = {}
        self.calls: list[str] = []
        self.around: Callable[[str, Callable[[], Any]], Any] = lambda name, call: call()

    def active(self) -> dict[str, Any]:
        return {run_id: run for run_id, run in self.runs.items() if run.info.lifecycle_stage == "active"}

    def create_run(self, experiment_id: str, start_time: int, run_name: str, tags: Mapping[str, str]) -> Any:
        def call() -> Any:
            run_id = f"run{len(self.runs)}"
            info = SimpleNamespace(
                run_id=run_id,
                run_name=run_name,
                status="RUNNING",
                start_time=start_time,
                end_time=None,
                lifecycle_stage="active",
            )
            data = SimpleNamespace(tags=dict(tags), params={}, points=set(), files=set(), texts={}, inputs=set())
            self.runs[run_id] = SimpleNamespace(info=info, data=data)
            return self.runs[run_id]

        return self._call("create_run", call)

    def search_runs(self, experiments: Sequence[str], filter_string: str, **_: Any) -> Page:
        asked = re.findall(r"tags\.`(.+?)` = '(.+?)'", filter_string)
        found = [r for r in self.active().values() if all(r.data.tags.get(key) == value for key, value in asked)]
        return self._call("search_runs", lambda: Page(found))

    def get_run(self, run_id: str) -> Any:
        return self._call("get_run", lambda: self._run(run_id, active=False))

    def delete_run(self, run_id: str) -> None:
        self._call("delete_run", lambda: setattr(self._run(run_id).info, "lifecycle_stage", "deleted"))

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        def call() -> None:
            data = self._run(run_id).data
            for param in params:
                if data.params.setdefault(param.key, param.value) != param.value:
                    raise MlflowException(f"param {param.key} is there", INVALID_PARAMETER_VALUE)
            data.points |= {(point.key, point.timestamp, point.step, point.value) for point in metrics}
            data.tags |= {tag.key: tag.value for tag in tags}

        self._call("log_batch", call)

    def log_artifact(self, run_id: str, file: str) -> None:
        self._call("log_artifact", lambda: self._run(run_id).data.files.add(file))

    def log_text(self, run_id: str, text: str, file: str) -> None:
        self._call("log_text", lambda: self._run(run_id).data.texts.update({file: text}))

    def log_inputs(self, run_id: str, datasets: Sequence[Any]) -> None:
        inputs = [(one.dataset.name, one.dataset.digest, one.dataset.profile) for one in datasets]
        self._call("log_inputs", lambda: self._run(run_id).data.inputs.update(inputs))

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        self._call("set_experiment_tag", lambda: self.experiment_tags.update({key: value}))

    def search_logged_models(self, experiments: Sequence[str], filter_string: str, **_: Any) -> Page:
        asked = re.findall(r"tags\.`(.+?)` = '(.+?)'", filter_string)
        found = [one for one in self.models.values() if all(one.tags.get(key) == value for key, value in asked)]
        return self._call("search_logged_models", lambda: Page(found))

    def create_logged_model(self, experiment_id: str, name: str, source_run_id: str, tags: Any, **more: Any) -> Any:
        def call() -> Any:
            model_id = f"m-{len(self.calls)}"
            own = {"model_id": model_id, "name": name, "source_run_id": source_run_id, "status": "PENDING"}
            self.models[model_id] = SimpleNamespace(**own, tags=dict(tags), params=more["params"])
            return self.models[model_id]

        return self._call("create_logged_model", call)

    def delete_logged_model(self, model_id: str) -> None:
        self._call("delete_logged_model", lambda: self.models.pop(model_id))

    def set_logged_model_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        self._call("set_logged_model_tags", lambda: self.models[model_id].tags.update(tags))

    def finalize_logged_model(self, model_id: str, status: str) -> None:
        self._call("finalize_logged_model", lambda: setattr(self.models[model_id], "status", status))

    def log_outputs(self, run_id: str, models: Sequence[Any]) -> None:
        self._call("log_outputs", lambda: self._run(run_id))

    def get_metric_history(self, run_id: str, key: str) -> list[Any]:
        return []

    def update_run(self, run_id: str, status: str) -> None:
        self._call("update_run", lambda: setattr(self._run(run_id).info, "status", status))

    def set_terminated(self, run_id: str, status: str, end_time: int) -> None:
        self._call("set_terminated", lambda: self._run(run_id).info.__dict__.update(status=status, end_time=end_time))

    def content(self) -> dict[str | None, Any]:
        """What the active runs hold, by trial id; None is the sweep's. Two runs of one trial are a failure."""
        active = self.active()
        content = {}
        for run in active.values():
            whose, tags = run.data.tags.get("omsweep.trial_id"), dict(run.data.tags)
            assert whose not in content, f"two runs of {whose}"
            if "mlflow.note.content" in tags:  # which links to the sweep's run
                tags["mlflow.note.content"] = re.sub(r"/runs/run\d+", "/runs/RUN", tags["mlflow.note.content"])
            if whose is not None:
                assert active[tags.pop("mlflow.parentRunId")].data.tags["omsweep.run"] == "sweep"
            info = {name: getattr(run.info, name) for name in ("run_name", "status", "start_time", "end_time")}
            shown = {name: getattr(run.data, name) for name in ("params", "points", "texts", "inputs")}
            content[whose] = {**info, "tags": tags, **shown}
        content.get(None, {})["models"] = sorted(
            (one.name, one.status, *one.tags.items()) for one in self.models.values()
        )
        return content

    def _run(self, run_id: str, active: bool = True) -> Any:
        run = self.runs.get(run_id)
        if run is None:
            raise MlflowException(f"no run {run_id}", RESOURCE_DOES_NOT_EXIST)
        if active and run.info.lifecycle_stage != "active":
            raise MlflowException(f"run {run_id} must be in the 'active' state", INVALID_PARAMETER_VALUE)
        return run

    def _call(self, name: str, call: Callable[[], Any]) -> Any:
        self.calls.append(name)
        return self.around(name, call)
