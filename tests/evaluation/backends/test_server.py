"""Servers are waited for, told apart, and leave nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from omsweep.evaluation.backends import guard
from omsweep.evaluation.backends.server import serving
from omsweep.evaluation.backends.settings import BackendSettings

STARTER = "OMSWEEP_TEST_STARTER"
"""Variable with the process that the tests run in; others may run servers at the same time."""


@pytest.fixture(autouse=True)
def starter(monkeypatch):
    monkeypatch.setenv(STARTER, str(os.getpid()))


def below(marked):
    return [one for one in psutil.process_iter() if one.pid in marked and one.status() != psutil.STATUS_ZOMBIE]


def marks():
    """Pids of all processes that a server of this process or of one below it has."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            seen = process.environ()
            if guard.MARK in seen and seen.get(STARTER) == str(os.getpid()):
                found.add(process.pid)
    return found


def test_it_answers_for_a_folder_with_our_own_generation_settings(stub, saved, decoding):
    with serving(stub(), saved, decoding=decoding) as server:
        choice = server.ask("/v1/completions", {"prompt": "hello"})["choices"][0]
        assert json.loads(choice["text"]) == {"prompt": "hello"}
        assert server.version == {"owned_by": "stub", "version": "1.2"}
        # the stub lists the name "policy" too, but the command does not give it
        assert server.model.endswith("/model")
        said = json.loads((server.log.parent / "model" / "generation_config.json").read_text())
        assert said["eos_token_id"] == list(decoding.ends)
        assert (server.log.parent / "model" / "model.safetensors").samefile(saved / "model.safetensors")
    assert not server.log.exists()


def test_a_name_that_the_command_gives_is_asked_for(stub, saved, decoding):
    given = stub()
    named = BackendSettings(name="openai", command=given.command + " --served-model-name policy")
    with serving(named, saved, decoding=decoding) as server:
        assert server.model == "policy"


def test_one_that_lists_no_models_is_well_or_not(stub, saved, decoding):
    with serving(stub("unlisted"), saved, decoding=decoding) as server:
        assert server.version == {"owned_by": None, "version": None}
        assert server.ask("/v1/completions", {})["choices"]


def test_all_its_processes_are_ended(stub, saved, decoding):
    before = marks()
    with serving(stub("spawns"), saved, decoding=decoding):
        ours = marks() - before
        assert len(ours) == 3  # the guard, the server, and its child, which ignores what asks it to end
    assert not below(ours)


def test_it_ends_with_a_starter_that_is_killed(saved, decoding, stub):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from omsweep.evaluation.backends.server import serving\n"
        "from omsweep.evaluation.backends.settings import BackendSettings\n"
        "from omsweep.families.decoding import Decoding\n"
        f"with serving(BackendSettings(name='openai', command={stub().command!r}), Path({str(saved)!r}),"
        f" decoding=Decoding(stop_tokens={dict(decoding.stop_tokens)!r})):\n"
        "    sys.stdout.write('ready\\n'); sys.stdout.flush(); time.sleep(600)\n"
    )
    before = marks()
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert starter.stdout.readline() == b"ready\n"
    ours = marks() - before
    assert len(ours) == 2
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    deadline = time.monotonic() + 20
    while below(ours):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("how", "seconds", "message"),
    [
        ("dies", 60, "ended with status 1 before it answered: no such model, says the server"),
        ("silent", 1.5, "gave no answer within 1.5 s; give it longer with evaluate.backend.ready_seconds"),
    ],
)
def test_one_that_does_not_come_up_is_one_error(stub, saved, decoding, how, seconds, message):
    before = marks()
    with pytest.raises(ValueError, match=message), serving(stub(how, ready_seconds=seconds), saved, decoding=decoding):
        raise AssertionError
    assert marks() <= before


def test_a_program_that_is_not_there(saved, decoding):
    absent = BackendSettings(name="openai", command="no-such-server {model} {port}")
    with (
        pytest.raises(ValueError, match="there is no program 'no-such-server' here"),
        serving(absent, saved, decoding=decoding),
    ):
        raise AssertionError


def test_no_proxy_is_asked(stub, saved, decoding, monkeypatch):
    monkeypatch.setitem(os.environ, "HTTP_PROXY", "http://127.0.0.1:9")
    with serving(stub(ready_seconds=30), saved, decoding=decoding) as server:
        assert server.ask("/v1/completions", {})["choices"]
