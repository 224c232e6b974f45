"""What a trial costs, phase by phase: start, pilot, train, evaluate, for each method and both backends.

Runs a small compare sweep per backend on this machine and prints medians with an environment line; `--json FILE` keeps
them. Ratios between rows of one run mean something; single seconds on a shared machine do not.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omsweep.engine.run import run_sweep
from omsweep.space.build import build_space
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TrialRecord

PHASES = ("start", "pilot", "train", "evaluate")
BACKENDS = ("inprocess", "train")


def space(backend: str, blocks: int, steps: int) -> dict[str, Any]:
    return {
        "name": f"trial-cost-{backend}",
        "mode": "compare",
        "families": ["tiny-llama"],
        "space": {
            "algorithm": "dpo",
            "learning_rate": 4e-4,
            "beta": 0.1,
            "method": {
                "adamw": {},
                "ondare": {"semantics": "equations", "tau_travel": 0.05, "density": 0.5},
                "onties": {"semantics": "equations", "alpha": 1e-3, "density": 0.5},
            },
        },
        "design": {"blocks": blocks},
        "train": {"steps": steps, "batch_size": 32, "backend": backend},
    }


def medians(trials: list[TrialRecord]) -> dict[str, float]:
    return {phase: statistics.median(t.seconds[phase] or 0.0 for t in trials) for phase in PHASES}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=3, help="trials of each method and backend")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as storage:
        for backend in BACKENDS:
            content = build_space(space(backend, options.blocks, options.steps))
            run_sweep(content, backend, Path(storage))
            trials = SweepFolder(storage, backend).trials()
            for label in dict.fromkeys(t.label for t in trials):
                done = [t for t in trials if t.label == label and t.state == "completed"]
                rows.append({"backend": backend, "method": label, "trials": len(done), **medians(done)})
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    report = {"date": datetime.now(UTC).date().isoformat(), "environment": where, "steps": options.steps, "rows": rows}
    sys.stdout.write(f"{report['date']}  {where}  {options.steps} steps of 32\n")
    sys.stdout.write("backend    method  trials  " + "  ".join(f"{p:>9}" for p in PHASES) + "   (median seconds)\n")
    for row in rows:
        cells = "  ".join(f"{row[p]:9.2f}" for p in PHASES)
        sys.stdout.write(f"{row['backend']:<10} {row['method']:<7} {row['trials']:>6}  {cells}\n")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
