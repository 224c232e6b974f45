"""Writes `v1.jsonl`, the log of a small sweep as version 1 of its events has it: `python -m tests.store.logs.make`.

A committed log is never written again. When `omsweep.store.events.VERSION` is raised, this file writes `v2.jsonl`,
and every omsweep goes on reading both.
"""

import tempfile
from pathlib import Path
from typing import Any

from omsweep.store.events import VERSION
from omsweep.store.log import SweepLog
from omsweep.store.storage import EVENTS, FolderStorage

LOG = Path(__file__).with_name(f"v{VERSION}.jsonl")
START = 1_764_460_800.0
RESOLVED = {
    "name": "demo",
    "mode": "compare",
    "objectives": {"reward": "reward", "tax": "tax", "reference_point": {"reward": 0.0, "tax": 20.0}},
    "design": {"blocks": 1, "seeds": 1},
}


def spec(method: str, **changes: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "family": "tiny-llama",
        "block": 0,
        "seed": 7,
        "label": method,
        "algorithm": "dpo",
        "method": method,
        "params": {"learning_rate": 4e-4, "beta": 0.1},
        "train": {"steps": 4},
        "evaluate": {"tax": "tiny", "reward": "tiny"},
        "splits": ["search"],
    } | changes


def outcome(state: str = "completed", **changes: Any) -> dict[str, Any]:
    return {"state": state, "steps": 4, "seconds": {"train": 1.5}, "weights_hash": "ab" * 8} | changes


HAPPENED: list[tuple[str, str | None, int | None, dict[str, Any]]] = [
    ("created", None, None, {"name": "demo", "resolved": RESOLVED, "versions": {"omsweep": "0.2.0"}, "git": None}),
    ("driver", None, None, {"host": "node-1", "pid": 4711}),
    ("prepared", None, None, {"family": "tiny-llama", "reference": {"tax": 0.0}, "models": {"contamination": []}}),
    ("proposed", "a", None, {"trial": spec("adamw")}),
    ("proposed", "b", None, {"trial": spec("ondare"), "drawn": {"number": 1}}),
    ("proposed", "c", None, {"trial": spec("onties")}),
    ("started", "a", 1, {}),
    ("progress", "a", 1, {"first_step": 1, "losses": [0.69, 0.51]}),
    ("lost", "a", 1, {"reason": "memory", "error": "killed for memory — 8.6 GiB", "traceback": "tracebacks/a-1.txt"}),
    ("started", "a", 2, {}),
    ("progress", "a", 2, {"first_step": 3, "losses": [0.44, 0.4]}),
    ("tracked", None, None, {"run_id": "f0" * 16}),
    ("tracked", "a", None, {"run_id": "0a" * 16}),
    ("trained", "a", 2, {"outcome": outcome(policy_path="policies/a")}),
    ("ended", "a", 2, {"outcome": outcome(reward=0.5, tax=1.25, scores={"math": 0.9})}),
    ("started", "b", 1, {}),
    ("ended", "b", 1, {"outcome": outcome("diverged", reward=None, tax=None, error="loss is not finite")}),
    ("started", "c", 1, {}),
    ("ended", "c", 1, {"outcome": outcome("failed", error="no room"), "traceback": "tracebacks/c-1.txt"}),
    ("changed", None, None, {"retry": ["c"]}),
    ("started", "c", 2, {}),
    ("ended", "c", 2, {"outcome": outcome(reward=0.75, tax=3.0)}),
    ("scored", "a", None, {"split": "report", "numbers": {"reward_report": 0.45, "tax_report": 1.5}}),
    ("reclaimed", None, None, {"bytes": 1024, "paths": ["checkpoints/a"]}),
    ("driver", None, None, {"closed": "completed"}),
]
"""Kind, trial, attempt, data."""


def main() -> None:
    assert not LOG.exists(), f"{LOG} is committed and stays as it is"
    with tempfile.TemporaryDirectory() as folder:
        log = SweepLog.open(FolderStorage(Path(folder)))
        times = iter(range(len(HAPPENED)))
        log._clock = lambda: START + next(times)
        for kind, trial_id, attempt, data in HAPPENED:
            log.append(kind, trial_id=trial_id, attempt=attempt, **data)
        log.close()
        LOG.write_bytes((Path(folder) / EVENTS).read_bytes())


if __name__ == "__main__":
    main()
