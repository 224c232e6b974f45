"""The front's members as MLflow's LoggedModels, and as versions of a registered model where that is asked for."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from omsweep.sinks.fields import LONGEST_PARAM, cut, key_of, tags_of
from omsweep.sinks.run_write import Model
from omsweep.sinks.views import OUTCOMES

READY = "READY"
Copy = Callable[[str, str], None]


def model_calls(
    client: Any,
    experiment_id: str,
    sweep: Mapping[str, str],
    runs: Mapping[str | None, str],
    models: Sequence[Model],
    copy: Copy,
) -> Iterator[Callable[[], object]]:
    """Calls after which the members, and no other models of the sweep, are models that say `front: true`.

    Args:
        client: of MLflow.
        experiment_id: of the sweep.
        sweep: the tag that says which sweep a model is of.
        runs: run ids by trial id.
        models: the members.
        copy: copies a folder into the model of an id.
    """
    for model in models:
        yield partial(_tell, client, experiment_id, sweep, runs[model.trial_id], model, copy)
    yield partial(_mark_others, client, experiment_id, sweep, {model.trial_id for model in models})


def delete_models_of_others(client: Any, experiment_id: str, sweep: Mapping[str, str], runs: Collection[str]) -> None:
    """Delete a sweep's models that come from none of these runs."""
    for found in _found(client, experiment_id, sweep):
        if found.source_run_id not in runs:
            client.delete_logged_model(found.model_id)


def _tell(client: Any, experiment_id: str, sweep: Mapping[str, str], run_id: str, model: Model, copy: Copy) -> None:
    """Make a member's model unless it is there whole; one that an earlier try did not finish is made again."""
    of_trial = {**sweep, "trial_id": model.trial_id}
    whole = None
    for found in _found(client, experiment_id, of_trial):
        if found.status == READY and whole is None:
            whole = found.model_id
        else:
            client.delete_logged_model(found.model_id)
    model_id = whole or _made(client, experiment_id, of_trial, run_id, model, copy)
    client.set_logged_model_tags(model_id, tags_of({"front": "true", "policy_path": model.policy or ""}))
    if model.register is not None:
        _register(client, run_id, model_id, of_trial, model)


def _made(client: Any, experiment_id: str, of_trial: Mapping[str, str], run_id: str, model: Model, copy: Copy) -> str:
    from mlflow.entities import LoggedModelOutput, Metric

    params = {key_of(key): cut(str(value), LONGEST_PARAM) for key, value in model.params.items()}
    made = client.create_logged_model(
        experiment_id, name=model.name, source_run_id=run_id, tags=tags_of(of_trial), params=params, model_type="policy"
    )
    model_id = str(made.model_id)
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    last = [history[-1] for name in OUTCOMES if (history := client.get_metric_history(run_id, name))]
    points = [Metric(one.key, one.value, one.timestamp, one.step, model_id=model_id) for one in last]
    if points:
        client.log_batch(run_id, metrics=points)
    if model.weights and model.policy is not None:
        copy(model_id, model.policy)
    client.finalize_logged_model(model_id, READY)
    return model_id


def _register(client: Any, run_id: str, model_id: str, of_trial: Mapping[str, str], model: Model) -> None:
    from mlflow.exceptions import MlflowException

    name = str(model.register)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if not client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'"):
        place = client.get_logged_model(model_id).artifact_location  # of `models:/...` MLflow asks its default store
        client.create_model_version(
            name, place, run_id, tags=tags_of(of_trial), await_creation_for=0, model_id=model_id
        )


def _mark_others(client: Any, experiment_id: str, sweep: Mapping[str, str], members: set[str]) -> None:
    for found in _found(client, experiment_id, sweep):
        if found.tags.get("trial_id") not in members:
            client.set_logged_model_tags(found.model_id, {"front": "false"})


def _found(client: Any, experiment_id: str, tags: Mapping[str, str]) -> list[Any]:
    asked = " AND ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    models: list[Any] = []
    token: str | None = ""
    while token is not None:
        page = client.search_logged_models([experiment_id], filter_string=asked, page_token=token or None)
        models += page
        token = page.token or None
    return models
