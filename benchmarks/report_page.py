"""How large the report's page is, how long it takes to write, and how long to open in headless Chromium.

Writes a sweep of `--trials` trials of two families, with losses of 100 steps each and answers of the front's members,
then its report. The limits: 6 MB for 500 trials, 5 s to open one of 10,000.
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from omsweep.report.write import write_report
from omsweep.store.events import Event, encode
from omsweep.store.folder import SweepFolder
from omsweep.store.storage import FolderStorage

CATEGORIES = ("agent", "code", "instruction", "knowledge", "math", "reading")
METHODS: dict[str, dict[str, Any]] = {"adamw": {}, "ondare": {"gap_steps": 1}, "onties": {"gap_steps": 5}}
CLOCK = """<script>
const usable = performance.now();
while (boxes.length) drawFirst(boxes.shift());
document.body.getBoundingClientRect();
const elements = document.querySelectorAll("*").length;
document.title = JSON.stringify({usable, drawn: performance.now(), elements, errors: seen});
</script>"""
ERRORS = """<script>const seen = []; window.addEventListener("error", event => seen.push(event.message));</script>"""


def trial_of(number: int, draw: random.Random) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A trial's id, its settings and its outcome: reward and tax rise with its learning rate."""
    label = list(METHODS)[number % 3]
    family = ("tiny-llama", "tiny-qwen2")[number // 3 % 2]
    knobs = {"learning_rate": 10 ** draw.uniform(-4, -3), "beta": draw.choice([0.05, 0.1, 0.2]), "steps": 100}
    density = {} if label == "adamw" else {"density": draw.uniform(0.2, 1.0)}
    push = knobs["learning_rate"] / 1e-3
    scores = {name: 0.9 - 0.1 * push * draw.random() for name in CATEGORIES}
    fields = {
        "family": family,
        "seed": number,
        "sft_seed": 0,
        "label": label,
        "algorithm": draw.choice(["dpo", "ipo", "kto"]),
        "method": label,
        "params": {**knobs, **density, **METHODS[label]},
    }
    outcome = {
        "state": "completed" if draw.random() < 0.9 else "stopped",
        "reward": push * draw.uniform(0.4, 1.0),
        "reward_se_items": 0.04,
        "tax": 15 * push * push * draw.uniform(0.2, 1.0),
        "tax_se_items": 0.4,
        "scores": scores,
        "steps": 100,
        "learning_rate_applied": knobs["learning_rate"],
        "diagnostics": {"travel": 0.1 * push * draw.random(), **{f"number{i}": draw.random() for i in range(8)}},
        "seconds": {"start": draw.random(), "train": 10 * draw.random(), "evaluate": 30 * draw.random()},
        "policy_path": f"policies/{number}",
        "weights_hash": f"{draw.getrandbits(64):016x}",
    }
    return f"{family}-{number:05d}-{label}", fields, outcome


def happened(trials: int) -> Iterator[tuple[float, str, str | None, dict[str, Any]]]:
    """Time, kind, trial and data of every event; four trials run at a time."""
    draw, free = random.Random(0), [0.0] * 4
    yield 0.0, "created", None, {"name": "bench", "resolved": {"mode": "search", "objectives": {}}, "versions": {}}
    for family in ("tiny-llama", "tiny-qwen2"):
        reference = {"scores": dict.fromkeys(CATEGORIES, 0.9)}
        yield 0.0, "prepared", None, {"family": family, "sft_seed": None, "reference": reference, "models": {}}
    for number in range(trials):
        trial_id, fields, outcome = trial_of(number, draw)
        begin = free[number % 4]
        free[number % 4] = end = begin + draw.uniform(20, 60)
        yield begin, "proposed", trial_id, {"trial": fields}
        yield begin, "started", trial_id, {}
        losses = [0.7 * 0.99**step + 0.05 * draw.random() for step in range(100)]
        yield begin, "progress", trial_id, {"first_step": 1, "losses": losses}
        yield end, "ended", trial_id, {"outcome": outcome}


def write_sweep(folder: SweepFolder, trials: int) -> None:
    """The log, and tables of answers."""
    folder.path.mkdir(parents=True)
    rows = sorted(happened(trials), key=lambda row: row[0])
    events = (Event(seq, 1, time, kind, one, 1, data) for seq, (time, kind, one, data) in enumerate(rows, start=1))
    FolderStorage(folder.path).rewrite(b"".join(map(encode, events)))
    look = {"kind": "reward", "task": "tiny", "category": "open", "split": "search", "decoder": "greedy"}
    draw = random.Random(1)

    def table() -> pd.DataFrame:
        return pd.DataFrame(
            {**look, "item_id": f"p{i}", "score": draw.random(), "completion": "some words of an answer " * 20}
            for i in range(50)
        )

    for family in folder.state().fronts:
        folder.write_reference_scores(family, table())
        for member in folder.state().fronts[family]:
            folder.write_scores(member.trial_id, table())


def opened(page: Path) -> dict[str, Any]:
    """What Chromium says of the page: milliseconds until it can be used, and until its last chart is drawn."""
    html = page.read_text(encoding="utf-8").replace("<title>", f"{ERRORS}<title>", 1)
    timed = page.with_name("timed.html")
    timed.write_text(html.replace("</body>", f"{CLOCK}</body>", 1), encoding="utf-8")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "needs Chromium"
    profile = f"--user-data-dir={page.parent / 'profile'}"
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000", profile)
    done = subprocess.run([browser, *flags, "--dump-dom", timed.as_uri()], capture_output=True, text=True, check=True)
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found
    figures: dict[str, Any] = json.loads(found[1].replace("&quot;", '"'))
    return figures


def main() -> None:
    """Print the figures of one sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--keep", type=Path, help="where to leave the page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = SweepFolder(place, "bench")
        write_sweep(folder, options.trials)
        begin = time.perf_counter()
        write_report(folder)
        figures = {"trials": options.trials, "seconds": round(time.perf_counter() - begin, 2)}
        figures |= {"megabytes": round(folder.report_html.stat().st_size / 1e6, 2), **opened(folder.report_html)}
        print(json.dumps(figures, indent=2))
        if options.keep:
            shutil.copy(folder.report_html, options.keep)


if __name__ == "__main__":
    main()
