"""Which Ray the processes of a sweep are told of, and what Tune shows of the driver's environment."""

import os
from typing import Any

import pytest
import ray
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE, _ActorClassCache
from rich.console import Console

from omsweep.cluster.connect import ADDRESS, DASHBOARD_ADDRESS, connect


class Connected:
    """What `connect` asks of a Ray that is there."""

    gcs_address = "10.0.0.1:6379"


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_runtime_context", Connected)


def shown_by_tune() -> dict[str, str]:
    """Environment variables that Tune puts into the runtime environment of a trial's actor."""

    class Trainable:
        pass

    made: Any = _ActorClassCache().get(Trainable)
    return dict(made._default_options["runtime_env"]["env_vars"])


def test_trials_are_told_the_ray_they_belong_to_whatever_the_shell_names(
    connected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, "auto")
    monkeypatch.setenv(DASHBOARD_ADDRESS, "http://another-cluster:8265")
    with connect(Console()):
        shown = shown_by_tune()
    assert shown[ADDRESS] == Connected.gcs_address
    assert not shown[DASHBOARD_ADDRESS]
    assert (os.environ[ADDRESS], os.environ[DASHBOARD_ADDRESS]) == ("auto", "http://another-cluster:8265")


def test_aws_secrets_of_the_driver_are_not_shown(connected: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    assert "hunter2" in shown_by_tune().values()  # else Ray mended it, and ours can go
    with connect(Console()):
        assert "hunter2" not in shown_by_tune().values()


def test_what_was_there_is_there_again_after_a_sweep_that_raises(
    connected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)
    monkeypatch.delenv(DASHBOARD_ADDRESS, raising=False)
    listed = set(ENV_VARS_TO_PROPAGATE)
    with pytest.raises(KeyboardInterrupt), connect(Console()):
        raise KeyboardInterrupt
    assert listed == ENV_VARS_TO_PROPAGATE
    assert ADDRESS not in os.environ  # the next sweep of this process starts a Ray of its own again
    assert DASHBOARD_ADDRESS not in os.environ


def test_ray_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, "ray://head:10001")
    with pytest.raises(ValueError, match="RAY_ADDRESS must not be an address of Ray Client"), connect(Console()):
        pass
