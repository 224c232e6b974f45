"""What a sweep's log costs: loading the events of many trials, one event more, and memory.

Writes the log of `--trials` trials (six events each) to a folder, loads it in a process of its own and appends to it.
The limits for 10,000 trials: 2 s to load, 1 ms a further event beside what the disk takes to sync it, 300 MB.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omsweep.store.events import Event, encode
from omsweep.store.log import SweepLog, read_state
from omsweep.store.storage import FolderStorage

LOSSES = 100
"""Steps of a trial."""


def happened(trials: int) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """Kind, trial and data of every event of a sweep, about as long as in real ones."""
    draw = random.Random(0)
    yield "created", None, {"name": "bench", "resolved": {"objectives": {}}}
    recipe = {"params": {f"knob{i}": 0.1 * i for i in range(20)}, "train": {f"setting{i}": 0.1 * i for i in range(30)}}
    spec = {
        "v": 1,
        "family": "tiny-llama",
        "seed": 1,
        "label": "ondare",
        "algorithm": "dpo",
        "method": "ondare",
        **recipe,
    }
    for number in range(trials):
        trial_id = f"tiny-llama-b{number}-s0-ondare"
        outcome = {
            "state": "completed",
            "steps": LOSSES,
            "scores": {f"category{i}": draw.random() for i in range(7)},
            "diagnostics": {f"number{i}": draw.random() for i in range(10)},
            "seconds": {"start": draw.random(), "train": draw.random()},
            "policy_path": f"policies/{trial_id}",
            "weights_hash": f"{draw.getrandbits(256):064x}",
        }
        yield "proposed", trial_id, {"trial": {**spec, "block": number}}
        yield "started", trial_id, {}
        yield "progress", trial_id, {"first_step": 1, "losses": [draw.random() for _ in range(LOSSES)]}
        yield "tracked", trial_id, {"run_id": f"{draw.getrandbits(128):032x}"}
        yield "trained", trial_id, {"outcome": outcome}
        yield "ended", trial_id, {"outcome": {**outcome, "reward": draw.random(), "tax": 5 * draw.random()}}


def write_log(folder: Path, trials: int) -> None:
    lines = (
        encode(Event(seq, 1, float(seq), kind, trial_id, None if trial_id is None else 1, data))
        for seq, (kind, trial_id, data) in enumerate(happened(trials), start=1)
    )
    FolderStorage(folder).rewrite(b"".join(lines))


def measure(folder: Path) -> dict[str, Any]:
    """Figures of this process, which has done nothing before."""
    storage, empty = FolderStorage(folder), memory_mb()
    start, used = time.perf_counter(), time.process_time()
    state = read_state(storage)
    figures = {"events": state.seq, "load_seconds": time.perf_counter() - start, "load_cpu": time.process_time() - used}
    figures |= {"memory_mb": memory_mb(), "memory_mb_before": empty}
    start = time.perf_counter()
    records = state.records()
    figures |= {"records": len(records), "records_seconds": time.perf_counter() - start}
    del state, records
    log = SweepLog.open(storage)
    trial_ids = list(log.state.trials)[:200]
    start = time.perf_counter()
    log.state.hypervolumes()
    figures["hypervolumes_ms"] = 1e3 * (time.perf_counter() - start)
    for name, sync in (("event_ms", False), ("synced_event_ms", True)):
        seconds = []
        for trial_id in trial_ids:
            start = time.perf_counter()
            log.append("progress", trial_id=trial_id, sync=sync, first_step=1, losses=[0.5] * LOSSES)
            seconds.append(time.perf_counter() - start)
        figures[name], figures[f"{name}_worst"] = 1e3 * statistics.median(seconds), 1e3 * max(seconds)
    log.close()
    return figures


def memory_mb() -> float:
    """The most this process has had, its program and libraries included."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def page(figures: dict[str, Any], trials: int, size: int) -> str:
    date = datetime.now(UTC).date().isoformat()
    where = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    rows = [
        (
            f"load {figures['events']:,} events ({size / 1e6:.0f} MB) from a folder",
            f"{figures['load_seconds']:.2f} s",
            "2 s",
        ),
        ("processor time of that", f"{figures['load_cpu']:.2f} s", ""),
        ("a further event of 100 losses, not synced: median", f"{figures['event_ms']:.2f} ms", "1 ms"),
        ("the same, worst of 200", f"{figures['event_ms_worst']:.2f} ms", ""),
        ("a further event, on the disk: median", f"{figures['synced_event_ms']:.2f} ms", ""),
        ("most memory of the process once it is loaded", f"{figures['memory_mb']:.0f} MB", "300 MB"),
        ("the same before anything is read", f"{figures['memory_mb_before']:.0f} MB", ""),
        (f"records of {figures['records']:,} trials that ended", f"{figures['records_seconds']:.2f} s", ""),
        ("hypervolumes from the state", f"{figures['hypervolumes_ms']:.2f} ms", ""),
    ]
    table = "\n".join(f"| {what} | {value} | {limit} |" for what, value, limit in rows)
    return (
        f"# The log of a sweep of {trials:,} trials, {date}\n\n{where}; a local disk, other work beside.\n\n"
        f"`PYTHONPATH=. python benchmarks/log.py --trials {trials}`\n\n| | measured | limit |\n|---|---|---|\n{table}\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--page", type=Path, help="also write the table to this file")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        sys.stdout.write(json.dumps(measure(options.measure)))
        return 0
    with tempfile.TemporaryDirectory(dir=".") as folder:
        write_log(Path(folder), options.trials)
        size = (Path(folder) / "events.jsonl").stat().st_size
        command = [sys.executable, __file__, "--measure", folder]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    text = page(figures, options.trials, size)
    sys.stdout.write(text)
    if options.page:
        options.page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
