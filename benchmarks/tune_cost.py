"""What Ray Tune and our side of it cost a trial: a sweep whose trials do nothing.

    PYTHONPATH=. python benchmarks/tune_cost.py

Trials are the stand-ins that tests of sweeping use: they write a policy of some bytes and a table of 24 rows, and end.
All else is real: proposals, log, Tune, worker groups, MLflow. Milliseconds are those between the first start of a trial
and the last end, over the trials; two run at a time.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omsweep.engine.run import run_sweep
from omsweep.space.build import build_space
from omsweep.store.folder import SweepFolder
from tests.stub_work import STUB


def space(backend: str, trials: int) -> dict[str, Any]:
    """A random search of one family."""
    learning_rate = {"loguniform": [1e-5, 1e-3]}
    return {
        "name": "nothing",
        "mode": "search",
        "families": ["tiny-llama"],
        "space": {"algorithm": "dpo", "learning_rate": learning_rate, "beta": 0.1, "method": {"adamw": {}}},
        "search": {"algorithm": "random", "trials": trials},
        "train": {"steps": 2, "backend": backend, "concurrent_trials": 2},
        "keep": {"policies": "none"},
    }


def seconds_of(folder: SweepFolder) -> tuple[float, list[float]]:
    """From the first start to the last end, and of each trial from its own start to its own end."""
    started: dict[str, float] = {}
    ended: dict[str, float] = {}
    for line in folder.events_jsonl.read_text().splitlines():
        event = json.loads(line)
        if event["kind"] in ("started", "ended"):
            (started if event["kind"] == "started" else ended)[event["trial_id"]] = event["time"]
    own = [ended[name] - started[name] for name in started]
    return max(ended.values()) - min(started.values()), own


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--backends", nargs="+", default=["inprocess", "train"])
    options = parser.parse_args()
    said = [f"{datetime.now(UTC).date()}  {platform.machine()}, {os.cpu_count()} CPUs, {options.trials} trials"]
    for backend in options.backends:
        with tempfile.TemporaryDirectory() as storage:
            run_sweep(build_space(space(backend, options.trials)), "s", Path(storage), work=STUB)
            wall, own = seconds_of(SweepFolder(Path(storage), "s"))
        own.sort()
        said.append(
            f"{backend:<10} {1e3 * wall / options.trials:6.0f} ms a trial; from its start to its end median"
            f" {1e3 * own[len(own) // 2]:.0f} ms, longest {own[-1]:.1f} s"
        )
    sys.stdout.write("\n".join(said) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
