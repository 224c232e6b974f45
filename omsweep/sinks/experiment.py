"""The experiment of a project: found, or made by the first of its sweeps."""

import os
from typing import Any

from omsweep.sinks.first_connection import artifact_location

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines per trial, with whatever the server's address holds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's own 7 and 120 s notice an outage after minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
}
"""Environment variables of MLflow that are set unless the user has set them."""


def opened(tracking_uri: str, experiment: str) -> tuple[Any, str]:
    """A client and the experiment's id; ValueError where the experiment was deleted."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)  # some are read when mlflow is imported
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
