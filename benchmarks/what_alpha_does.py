"""What alpha does to a run of the tiny world: tau_travel, merge_ratio and the rest of the diagnostics, reward and tax.

One family, DPO, one seed: a table of diagnostics, not a comparison of methods. `--json FILE` keeps the rows.
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

METHODS = ("ondare", "onties")
ALPHAS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
SHOWN = ("tau_travel", "merge_ratio", "retained_share", "displacement", "lost_update_share", "merged_share")
SHOWN += ("election_dropped_share",)


def space(family: str, steps: int) -> dict[str, Any]:
    branches: dict[str, Any] = {"adamw": {}}
    for method in METHODS:
        for semantics in ("equations", "released"):
            for alpha in ALPHAS:
                label = f"{method}-{semantics}-{alpha:g}"
                knobs = {"semantics": semantics, "alpha": alpha, "density": 0.5}
                branches[label] = {"method": method, **knobs}
    return {
        "name": "what-alpha-does",
        "mode": "compare",
        "families": [family],
        "space": {"algorithm": "dpo", "learning_rate": 4e-4, "beta": 0.1, "method": branches},
        "design": {"blocks": 1, "match": "share"},
        "train": {"steps": steps, "batch_size": 32, "backend": "inprocess"},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="tiny-llama")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as storage:
        run_sweep(build_space(space(options.family, options.steps)), "alpha", Path(storage))
        trials = SweepFolder(storage, "alpha").trials()
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    date = datetime.now(UTC).date().isoformat()
    sys.stdout.write(f"{date}  {where}  {options.family}, dpo, {options.steps} steps of 32, density .5\n")
    sys.stdout.write("| recipe | " + " | ".join(SHOWN) + " | reward | tax |\n|" + "---|" * (len(SHOWN) + 3) + "\n")
    rows = []
    for trial in sorted(trials, key=lambda t: list(space("x", 1)["space"]["method"]).index(t.label)):
        cells = ["-" if trial.diagnostics[name] is None else f"{trial.diagnostics[name]:.3g}" for name in SHOWN]
        sys.stdout.write(f"| {trial.label} | {' | '.join(cells)} | {trial.reward:+.3f} | {trial.tax:+.2f} |\n")
        rows.append({"label": trial.label, "reward": trial.reward, "tax": trial.tax, **trial.diagnostics})
    if options.json:
        options.json.write_text(json.dumps({"date": date, "environment": where, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
