"""A small sweep whose trials, judge and errors say secrets aloud, and where a secret is looked for afterwards.

As a program it runs such a sweep on a Ray of its own, asks the dashboard what it knows, and writes that to a file:
`python -m tests.planted_secret FOLDER BACKEND`.
"""

import dataclasses
import json
import logging
import os
import secrets
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from ray import cloudpickle

from omsweep.engine.on_ray import RayExecutor
from omsweep.engine.run import run_sweep
from omsweep.space.build import build_space
from omsweep.store.folder import SweepFolder
from tests import stub_work
from tests.stub_work import STUB

PLANTED = ("MLFLOW_TRACKING_PASSWORD", "HF_TOKEN")
DASHBOARD = "dashboard.json"
ANSWERS = (
    *("/api/jobs/", "/api/v0/tasks?detail=1&limit=1000", "/api/v0/actors?detail=1", "/api/v0/runtime_envs?detail=1"),
    *("/api/v0/workers?detail=1", "/api/v0/nodes?detail=1", "/logical/actors", "/nodes?view=summary", "/events"),
    "/api/cluster_status",
)


def plant(folder: Path) -> dict[str, str]:
    """Make secrets: two for the environment, by variable, and one in a file `judge`, under `JUDGE_KEY`."""
    made = {name: f"planted-{secrets.token_hex(12)}" for name in (*PLANTED, "JUDGE_KEY")}
    (folder / "judge").write_text(made["JUDGE_KEY"] + "\n")
    return made


def content(folder: Path, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": "s",
        "mode": "compare",
        "families": ["tiny-llama"],
        "secrets": {"HF_TOKEN": "env", "JUDGE_KEY": f"file:{folder / 'judge'}"},
        "space": {
            "algorithm": "dpo",
            "learning_rate": 4e-4,
            "beta": 0.1,
            "method": {"adamw": {}, "ondare": {"semantics": "equations", "tau_travel": 0.05, "density": 0.5}},
        },
        "design": {"blocks": 1},
        "train": {"steps": 12, "batch_size": 8},
    }
    return made | changes


def said() -> str:
    """What a careless library says."""
    told = [os.environ[name] for name in ("HF_TOKEN", "JUDGE_KEY")]
    return f"401 {told} http://me:{os.environ.get('MLFLOW_TRACKING_PASSWORD', told[0])}@judge/x?api_key={told[1]}"


def aloud() -> None:
    print(said(), flush=True)
    sys.stderr.write(said() + "\n")
    logging.getLogger("judge").warning("refused: %s", said())


def prepare(wanted: Any, progress: Any) -> Any:
    aloud()
    return stub_work.prepare(wanted, progress)


def session(spec: Any, prepared: Any, folder: Path, **given: Any) -> Any:
    """AdamW's judge raises, the other's repeats the key in an answer."""
    aloud()
    if spec.label == "adamw":
        raise RuntimeError(f"the judge refused {said()}")
    outcome = stub_work.session(spec, prepared, folder, **given)
    sweep = SweepFolder(folder.parent, folder.name)
    sweep.write_scores(spec.trial_id, sweep.scores(spec.trial_id).assign(completion=said()))
    return outcome


def rescore(*given: Any) -> Any:
    raise OSError(5, said(), said())


cloudpickle.register_pickle_by_value(sys.modules[__name__])
WORK = dataclasses.replace(STUB, prepare=prepare, session=session, rescore=rescore)


def places_of(folders: Iterable[Path], values: Iterable[str]) -> list[str]:
    """The files that hold one of the values, as they are or in a table."""
    wanted = [value.encode() for value in values]
    return [
        str(file)
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink() and any(value in _bytes(file) for value in wanted)
    ]


def _bytes(file: Path) -> bytes:
    raw = file.read_bytes()
    return raw + pd.read_parquet(file).to_csv().encode() if file.suffix == ".parquet" else raw


@contextmanager
def _asked(folder: Path, *given: Any) -> Iterator[Any]:
    """An executor on a Ray whose dashboard is asked before it ends."""
    import ray

    with RayExecutor.connected(*given) as executor:
        yield executor
        address = ray._private.worker._global_node.webui_url
        token = os.environ["RAY_AUTH_TOKEN"]
        found = {}
        for path in ANSWERS:
            request = urllib.request.Request(f"http://{address}{path}", headers={"Authorization": f"Bearer {token}"})
            try:
                found[path] = urllib.request.urlopen(request, timeout=20).read().decode()
            except OSError as error:
                found[path] = f"none: {error}"
        (folder / DASHBOARD).write_text(json.dumps(found))


def main(folder: Path, backend: str) -> int:
    made = content(folder, train={"steps": 12, "batch_size": 8, "backend": backend})
    return run_sweep(
        build_space(made), "s", folder / "runs", work=WORK, connected=lambda *given: _asked(folder, *given)
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
