"""A server that a command starts on this machine for one policy, and that ends with whoever started it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from omsweep.evaluation.backends import guard
from omsweep.evaluation.backends.settings import BackendSettings
from omsweep.families.decoding import Decoding
from omsweep.redaction import redacted, visible

ANSWER_SECONDS = 3600.0
"""After which an answer counts as lost."""
LOG_CHARACTERS = 2000
"""How much of what a server said last stands in an error."""
_GENERATION = "generation_config.json"
_VERSIONS = ("/version", "/get_server_info")
"""Where vLLM and SGLang tell their version."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """One that answers.

    Attributes:
        url: without a slash at its end.
        model: the policy's name there.
        version: what it says of itself: `owned_by` and `version`, None where it does not.
        log: the file with what it says.
        process: whether it lives (`poll`).
    """

    url: str
    model: str
    version: Mapping[str, str | None]
    log: Path
    process: "subprocess.Popen[bytes]"

    def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to a request.

        Raises:
            ValueError: it refused, answered no JSON, or is gone.
        """
        try:
            with _session() as session:
                answer = session.post(f"{self.url}{path}", json=dict(body), timeout=(10, ANSWER_SECONDS))
            found = answer.json() if answer.ok else None
        except (requests.RequestException, ValueError) as error:
            raise ValueError(f"the server of evaluate.backend {self._state()}: {_brief(str(error))}") from None
        if found is None:
            said = f"{answer.status_code} {_brief(answer.text)}"
            why = f"; it said last: {_last(self.log)}" if answer.status_code >= 500 else ""
            raise ValueError(f"the server of evaluate.backend refused a prompt: {said}{why}")
        return found

    def _state(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)  # a connection breaks before its process is gone
        status = self.process.poll()
        return "gave no answer" if status is None else f"ended with status {status}: {_last(self.log)}"


@contextmanager
def serving(settings: BackendSettings, folder: Path, *, decoding: Decoding) -> Iterator[Server]:
    """A server that answers for the model of a folder; ended on leaving, with all processes that it started.

    It is given a folder of links to the model's files with generation settings of its own: `decoding`'s stop tokens and
    penalty, and nothing else of the model's.

    Raises:
        ValueError: no such program, or it ended or gave no answer in time, with the end of what it said.
    """
    with tempfile.TemporaryDirectory(prefix="omsweep-server-") as scratch:
        shown, log = Path(scratch) / "model", Path(scratch) / "server.log"
        _link(folder, shown, decoding)
        port = _free_port()
        command = settings.argv(str(shown), port)
        if shutil.which(command[0]) is None:
            raise ValueError(f"evaluate.backend.command: there is no program {command[0]!r} here")
        mark = uuid.uuid4().hex
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, guard.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=os.environ | {guard.MARK: mark},
                start_new_session=True,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            listed = _wait(url, process, log, settings.ready_seconds)
            yield Server(
                url=url,
                model=_name(listed, command, str(shown)),
                version=_version(url, listed),
                log=log,
                process=process,
            )
        finally:
            _end(process, mark)


def _link(folder: Path, shown: Path, decoding: Decoding) -> None:
    shown.mkdir()
    for file in folder.iterdir():
        if file.name != _GENERATION:
            (shown / file.name).symlink_to(file.resolve(), target_is_directory=file.is_dir())
    vocabulary = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("vocab_size")
    said = {
        "eos_token_id": list(decoding.ends),
        "pad_token_id": decoding.ends[0],
        "do_sample": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": vocabulary or 2**20,  # all: what stands for no limit differs from server to server
        "repetition_penalty": decoding.repetition_penalty,
    }
    (shown / _GENERATION).write_text(json.dumps(said) + "\n", encoding="utf-8")


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float) -> list[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    while True:
        status = process.poll()
        if status is not None:
            raise ValueError(f"evaluate.backend.command ended with status {status} before it answered: {_last(log)}")
        listed = _get(f"{url}/v1/models")  # not every server has a list; `transformers serve` needs a hub cache for it
        if listed is not None or _is_well(url):
            return [one for one in (listed or {}).get("data") or [] if isinstance(one, dict)]
        if time.monotonic() > deadline:
            raise ValueError(
                f"the server of evaluate.backend gave no answer within {seconds:g} s; give it longer with"
                f" evaluate.backend.ready_seconds. It said last: {_last(log)}"
            )
        time.sleep(0.2)


def _name(listed: list[dict[str, Any]], command: list[str], folder: str) -> str:
    """The policy's name: one that the command gives it and the server lists, else its folder."""
    return next((str(one["id"]) for one in listed if one.get("id") in command), folder)


def _version(url: str, listed: list[dict[str, Any]]) -> dict[str, str | None]:
    told = next((str(said["version"]) for path in _VERSIONS if "version" in (said := _get(url + path) or {})), None)
    owner = next((str(one["owned_by"]) for one in listed if one.get("owned_by")), None)
    return {"owned_by": owner, "version": told}


def _get(url: str) -> dict[str, Any] | None:
    try:
        with _session() as session:
            answer = session.get(url, timeout=10)
        found = answer.json() if answer.ok else None
    except (requests.RequestException, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _is_well(url: str) -> bool:
    try:
        with _session() as session:
            return session.get(f"{url}/health", timeout=10).ok
    except requests.RequestException:
        return False


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy stands between a machine and itself
    return session


def _end(process: "subprocess.Popen[bytes]", mark: str) -> None:
    assert process.stdin is not None
    process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=3 * guard.GRACE_SECONDS)
    if process.poll() is None:
        process.kill()
        process.wait()
    guard.end(mark, grace=0.0)  # nothing, unless somebody killed the guard


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _last(log: Path) -> str:
    return _brief(log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARACTERS:])


def _brief(text: str) -> str:
    return visible(redacted(" ".join(text.split())[-LOG_CHARACTERS:])) or "nothing"
